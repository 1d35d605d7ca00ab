//! The faults, and where they do not occur.

use crate::chaos::store::Store;

/// A fault of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Fault {
    /// All servers are killed: connections break, and new ones are refused. They come back empty, apart from the table of
    /// DynamoDB.
    Killed,
    /// All servers are frozen: connections stay open, and nothing answers.
    Frozen,
    /// Every reply takes 500 ms longer.
    Slow,
    /// Every connection is reset in the middle of its next reply.
    Reset,
    /// Replies are random bytes.
    Garbage,
    /// The cache's credentials are refused.
    Credentials,
    /// The store answers reads and refuses writes.
    ReadOnly,
    /// The store has no memory left, and evicts nothing. Of DynamoDB: the table's capacity for writes is used up.
    Full,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Killed,
        Self::Frozen,
        Self::Slow,
        Self::Reset,
        Self::Garbage,
        Self::Credentials,
        Self::ReadOnly,
        Self::Full,
    ];

    /// Returns the name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Frozen => "frozen",
            Self::Slow => "+500 ms",
            Self::Reset => "reset in mid reply",
            Self::Garbage => "garbage",
            Self::Credentials => "wrong credentials",
            Self::ReadOnly => "read-only",
            Self::Full => "full",
        }
    }

    /// Returns whether the store can have the fault. Larder's connections to memcached have no credentials, and memcached
    /// cannot be made read-only.
    #[must_use]
    pub fn occurs_on(self, store: Store) -> bool {
        store != Store::Memcached || !matches!(self, Self::Credentials | Self::ReadOnly)
    }
}
