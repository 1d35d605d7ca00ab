//! The stores, each in one of its deployments.

/// A kind of store, in one of its deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Store {
    /// One Redis server.
    Redis,
    /// Three masters of a Redis Cluster, with a replica each.
    Cluster,
    /// A Redis master and its replica, watched by three Sentinels.
    Sentinel,
    /// One memcached server.
    Memcached,
    /// DynamoDB Local.
    Dynamodb,
}

impl Store {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Redis,
        Self::Cluster,
        Self::Sentinel,
        Self::Memcached,
        Self::Dynamodb,
    ];

    /// Returns the name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Cluster => "Redis Cluster",
            Self::Sentinel => "Redis, Sentinels",
            Self::Memcached => "memcached",
            Self::Dynamodb => "DynamoDB Local",
        }
    }
}
