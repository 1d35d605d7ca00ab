//! How much a store holds.

/// How much a store holds, as [`Backend::usage`](crate::Backend::usage) returns it.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The number of records.
    pub entries: u64,
    /// What the records take, in bytes.
    pub bytes: u64,
}

impl Usage {
    /// Returns the usage of a store with `entries` records, which take `bytes` bytes.
    #[must_use]
    pub const fn new(entries: u64, bytes: u64) -> Self {
        Self { entries, bytes }
    }
}
