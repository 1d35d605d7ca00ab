//! The stores on which histories are played.

use std::time::Duration;

use crate::{DynamoDb, Memcached, Redis};

/// A store on which histories are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Store {
    /// In the memory of one process, by several caches.
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

    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
            Self::Dynamodb => "dynamodb",
        }
    }

    /// How many histories at a time keep a small machine busy.
    #[must_use]
    pub fn at_a_time(self) -> usize {
        match self {
            Self::Memory | Self::Redis => 16,
            Self::Memcached => 8,
            Self::Dynamodb => 12,
        }
    }

    /// How long a load waits for an invalidation, which may never come: for a few calls.
    pub(super) fn hold(self) -> Duration {
        Duration::from_millis(match self {
            Self::Memory => 40,
            Self::Redis | Self::Memcached => 100,
            Self::Dynamodb => 300,
        })
    }

    /// Whether several processes can share it.
    #[must_use]
    pub fn is_shared(self) -> bool {
        self != Self::Memory
    }

    /// Whether it tells of changes, and so of what is near and out of date.
    pub(super) fn tells_of_changes(self) -> bool {
        self == Self::Redis
    }

    /// The URL by which workers find it. It is started if need be.
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
