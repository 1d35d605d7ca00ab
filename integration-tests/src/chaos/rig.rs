//! A store of one's own that its clients reach through proxies, and what breaks and heals it.

use std::time::Duration;

use cache_core::Backend;
use cache_dynamodb::DynamoBackend;
use futures_util::future::join_all;

use crate::chaos::fault::Fault;
use crate::chaos::full;
use crate::chaos::proxy::{Proxy, Reserved, Wire};
use crate::chaos::refusal::Refusal;
use crate::chaos::store::Store;
use crate::{DynamoDb, Memcached, Redis, RedisCluster, RedisSentinel, redis_cluster, redis_sentinel, wire};

/// The delay of [`Fault::Slow`].
const DELAY: Duration = Duration::from_millis(500);

const TABLE: &str = "chaos";

/// More replicas than there are.
const TOO_MANY: u32 = 9;

enum Servers {
    Redis(Redis),
    Cluster(RedisCluster),
    Sentinel(RedisSentinel),
    Memcached(Memcached),
    Dynamodb(DynamoDb),
}

/// The servers of a store, with a proxy in front of each.
pub(super) struct Rig {
    store: Store,
    servers: Servers,
    proxies: Vec<Proxy>,
}

impl Rig {
    pub(super) async fn start(store: Store) -> Self {
        let ports = match store {
            Store::Cluster => redis_cluster::NODES,
            Store::Sentinel => redis_sentinel::SERVERS,
            Store::Redis | Store::Memcached | Store::Dynamodb => 1,
        };
        // They listen before the servers start, so that no port is lost meanwhile.
        let reserved = join_all((0..ports).map(|_| Reserved::reserve())).await;
        let ports = reserved.iter().map(Reserved::port).collect();
        let servers = match store {
            Store::Redis => Servers::Redis(Redis::start().await),
            Store::Cluster => Servers::Cluster(RedisCluster::start_behind(ports).await),
            Store::Sentinel => Servers::Sentinel(RedisSentinel::start_behind(ports).await),
            Store::Memcached => Servers::Memcached(Memcached::start_without_eviction().await),
            Store::Dynamodb => Servers::Dynamodb(DynamoDb::start().await),
        };
        let addresses = servers.addresses();
        let forward = |(reserved, address): (Reserved, &&str)| reserved.forward(address);
        let proxies = reserved.into_iter().zip(&addresses).map(forward).collect();
        servers.prepare().await;
        Self {
            store,
            proxies,
            servers,
        }
    }

    pub(super) fn store(&self) -> Store {
        self.store
    }

    /// Returns the URL of the store behind its proxies.
    pub(super) fn url(&self) -> String {
        let first = self.proxies[0].address();
        match &self.servers {
            Servers::Redis(_) => format!("redis://cache:secret@{first}"),
            Servers::Cluster(cluster) => cluster.url().replacen("://", "://cache:secret@", 1),
            Servers::Sentinel(set) => set.url().replacen("://", "://cache:secret@", 1),
            Servers::Memcached(_) => format!("memcached://{first}"),
            Servers::Dynamodb(_) => format!("dynamodb://{TABLE}?region=us-east-1&endpoint=http://{first}"),
        }
    }

    /// Begins the fault.
    pub(super) async fn break_by(&self, fault: Fault) {
        match (fault, &self.servers) {
            (Fault::Killed, servers) => {
                servers.kill().await;
                self.wire(Wire::Closed);
            }
            (Fault::Frozen, servers) => servers.freeze().await,
            (Fault::Slow, _) => self.wire(Wire::Slow(DELAY)),
            (Fault::Reset, _) => self.wire(Wire::Cut),
            (Fault::Garbage, _) => self.wire(Wire::Garbage),
            (Fault::Credentials, Servers::Dynamodb(_)) => self.wire(Wire::Refusing(Refusal::Credentials)),
            (Fault::ReadOnly, Servers::Dynamodb(_)) => self.wire(Wire::Refusing(Refusal::Writes)),
            (Fault::Full, Servers::Dynamodb(_)) => self.wire(Wire::Refusing(Refusal::Capacity)),
            (Fault::Full, Servers::Memcached(server)) => {
                full::fill(&server.addresses()[0]).await.expect("memcached answers");
            }
            // The connections of the user end, too.
            (Fault::Credentials, servers) => servers.tell_redis("ACL DELUSER cache").await,
            (Fault::ReadOnly, Servers::Redis(redis)) => tell(redis.address(), "REPLICAOF 127.0.0.1 1").await,
            (Fault::ReadOnly, servers) => {
                let command = format!("CONFIG SET min-replicas-to-write {TOO_MANY}");
                servers.tell_redis(&command).await;
            }
            (Fault::Full, servers) => servers.tell_redis("CONFIG SET maxmemory 1").await,
        }
    }

    /// Ends the fault. Returns when the store could be used.
    pub(super) async fn heal(&self, fault: Fault) {
        match (fault, &self.servers) {
            (Fault::Killed, servers) => {
                servers.restart().await;
                servers.prepare().await;
            }
            (Fault::Frozen, servers) => servers.thaw().await,
            (Fault::Slow | Fault::Reset | Fault::Garbage, _) | (_, Servers::Dynamodb(_)) => {}
            (Fault::Full, Servers::Memcached(server)) => {
                full::relieve(&server.addresses()[0]).await.expect("memcached answers");
            }
            (Fault::Credentials, servers) => servers.prepare().await,
            (Fault::ReadOnly, Servers::Redis(redis)) => tell(redis.address(), "REPLICAOF NO ONE").await,
            (Fault::ReadOnly, servers) => servers.tell_redis("CONFIG SET min-replicas-to-write 0").await,
            (Fault::Full, servers) => servers.tell_redis("CONFIG SET maxmemory 0").await,
        }
        self.wire(Wire::Sound);
    }

    fn wire(&self, wire: Wire) {
        for proxy in &self.proxies {
            proxy.set(wire);
        }
    }
}

impl Servers {
    /// Returns the addresses past the proxies.
    fn addresses(&self) -> Vec<&str> {
        match self {
            Self::Redis(redis) => vec![redis.address()],
            Self::Cluster(cluster) => cluster.direct().iter().map(String::as_str).collect(),
            Self::Sentinel(set) => set.direct().iter().map(String::as_str).collect(),
            Self::Memcached(servers) => servers.addresses().iter().map(String::as_str).collect(),
            Self::Dynamodb(dynamodb) => vec![dynamodb.address()],
        }
    }

    /// Makes the user of the cache, or its table.
    async fn prepare(&self) {
        match self {
            Self::Memcached(_) => {}
            Self::Dynamodb(dynamodb) => {
                let backend = DynamoBackend::builder()
                    .table(TABLE)
                    .endpoint(dynamodb.endpoint())
                    .region("us-east-1")
                    .static_credentials("local", "local")
                    .attempt_timeout(Duration::from_secs(30))
                    .operation_timeout(Duration::from_secs(60))
                    .create_table_if_missing(true)
                    .connect()
                    .await
                    .expect("DynamoDB Local answers");
                backend.close().await.expect("it has no calls");
            }
            redis => redis.tell_redis("ACL SETUSER cache on >secret ~* &* +@all").await,
        }
    }

    /// Sends a command to each Redis server that has data.
    async fn tell_redis(&self, command: &str) {
        let mut servers = self.addresses();
        if let Self::Sentinel(_) = self {
            // The others are Sentinels.
            servers.truncate(2);
        }
        for server in servers {
            tell(server, command).await;
        }
    }

    async fn kill(&self) {
        match self {
            Self::Redis(redis) => redis.kill().await,
            Self::Cluster(cluster) => cluster.kill_all().await,
            Self::Sentinel(set) => set.kill_all().await,
            Self::Memcached(servers) => servers.kill(0).await,
            Self::Dynamodb(dynamodb) => dynamodb.kill().await,
        }
    }

    async fn restart(&self) {
        match self {
            Self::Redis(redis) => redis.restart().await,
            Self::Cluster(cluster) => cluster.restart_all().await,
            Self::Sentinel(set) => set.restart_all().await,
            Self::Memcached(servers) => servers.restart(0).await,
            Self::Dynamodb(dynamodb) => dynamodb.restart().await,
        }
    }

    async fn freeze(&self) {
        match self {
            Self::Redis(redis) => redis.freeze().await,
            Self::Cluster(cluster) => cluster.freeze().await,
            Self::Sentinel(set) => set.freeze().await,
            Self::Memcached(servers) => servers.freeze(0).await,
            Self::Dynamodb(dynamodb) => dynamodb.freeze().await,
        }
    }

    async fn thaw(&self) {
        match self {
            Self::Redis(redis) => redis.thaw().await,
            Self::Cluster(cluster) => cluster.thaw().await,
            Self::Sentinel(set) => set.thaw().await,
            Self::Memcached(servers) => servers.thaw(0).await,
            Self::Dynamodb(dynamodb) => dynamodb.thaw().await,
        }
    }
}

async fn tell(server: &str, command: &str) {
    if let Err(error) = wire::redis(server, command).await {
        panic!("{server} does not do {command:?}: {error}");
    }
}
