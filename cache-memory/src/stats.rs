//! What a store holds and has done.

/// What a [`MemoryBackend`](crate::MemoryBackend) holds and has done.
///
/// Hits and misses are not counted here: a counter that all readers share would cost more than the lookup itself.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// The entries held now, including expired ones that have not been freed yet.
    pub entries: usize,
    /// What they count for, in bytes. See [`max_bytes`](crate::MemoryBackendBuilder::max_bytes).
    pub bytes: u64,
    /// How many records were evicted to make room, since the backend was built.
    pub evicted: u64,
    /// How many records were freed after their deadline, since the backend was built.
    pub expired: u64,
}
