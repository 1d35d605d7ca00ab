//! The statistics of a store.

/// The statistics of a [`MemoryBackend`](crate::MemoryBackend).
///
/// They do not count hits and misses: a counter that all readers share would cost more than the lookup itself.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// The current number of entries, including expired ones that have not been freed yet.
    pub entries: usize,
    /// The total weight of the entries in bytes. See [`max_bytes`](crate::MemoryBackendBuilder::max_bytes).
    pub bytes: u64,
    /// How many records were evicted to make room, since the backend was built.
    pub evicted: u64,
    /// How many records were freed after their deadline, since the backend was built.
    pub expired: u64,
}
