//! The stores for histories.

use std::time::Duration;

use crate::{DynamoDb, Memcached, Redis};

/// A store for histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Store {
    /// The memory of one process, with several caches.
    Memory,
    /// One Redis server.
    Redis,
    /// One memcached server.
    Memcached,
    /// DynamoDB Local.
    Dynamodb,
}

impl Store {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Redis, Self::Memcached, Self::Dynamodb];

    /// Returns the name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
            Self::Dynamodb => "dynamodb",
        }
    }

    /// Returns how many histories at a time keep a small machine busy.
    #[must_use]
    pub fn at_a_time(self) -> usize {
        match self {
            Self::Memory | Self::Redis => 16,
            Self::Memcached => 8,
            // With more, calls wait for tens of seconds on a busy machine.
            Self::Dynamodb => 4,
        }
    }

    /// Returns how long a load waits for an invalidation, which may never come: the time of a few calls.
    pub(super) fn hold(self) -> Duration {
        Duration::from_millis(match self {
            Self::Memory => 40,
            Self::Redis | Self::Memcached => 100,
            Self::Dynamodb => 300,
        })
    }

    /// Returns whether several processes can share the store.
    #[must_use]
    pub fn is_shared(self) -> bool {
        self != Self::Memory
    }

    /// Returns whether the store reports changes.
    pub(super) fn tells_of_changes(self) -> bool {
        self == Self::Redis
    }

    /// Removes what earlier histories left. A clear of a namespace scans all keys of a Redis server, so it would take
    /// longer with each history. None may be in play.
    pub async fn empty(self) {
        if self == Self::Redis {
            Redis::shared().await.empty().await;
        }
    }

    /// Returns the URL for workers. Starts the store if necessary.
    pub async fn url(self) -> String {
        match self {
            Self::Memory => "memory:".to_owned(),
            Self::Redis => Redis::shared().await.url().to_owned(),
            Self::Memcached => Memcached::shared().await.url(),
            Self::Dynamodb => {
                let endpoint = DynamoDb::shared().await.endpoint();
                format!("dynamodb://histories?region=us-east-1&endpoint={endpoint}&create_table_if_missing=true")
            }
        }
    }
}
