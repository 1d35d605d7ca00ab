/// What a [`MemoryBackend`](crate::MemoryBackend) holds and has done, as plain data.
///
/// Hits and misses are not counted here: a counter that all readers share would cost more than the look-up itself.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// The entries held now, including expired ones that have not been freed yet.
    pub entries: usize,
    /// What they count for, in bytes.
    pub bytes: u64,
    /// How many records were given up to make room, since the backend was built.
    pub evicted: u64,
    /// How many records were freed after their deadline, since the backend was built.
    pub expired: u64,
}
