//! The stores, each with a prefix of the test's own.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use cache_at_rest::{AtRest, Compression, KeyRing};
use cache_core::Backend;
use cache_dynamodb::{DynamoBackend, DynamoBackendBuilder};
use cache_engine::Cache;
use cache_memcached::MemcachedBackend;
use cache_memory::MemoryBackend;
use cache_redis::RedisBackend;
use integration_tests::{DynamoDb, Memcached, Redis};
use tokio::sync::OnceCell;

/// The time limit of calls. It is long, since the stores share a few processors with the tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// A limit on values that is small enough for a test of values above it.
const LARGEST_VALUE: usize = 2 * 1024 * 1024;

#[derive(Debug, Clone)]
enum Place {
    Memory(MemoryBackend),
    Redis(String),
    /// A Redis whose values are compressed and encrypted.
    AtRest(String),
    Memcached(String),
    DynamoDb(String, &'static str),
}

/// A store and a unique prefix.
#[derive(Debug, Clone)]
pub struct Store {
    place: Place,
    prefix: String,
}

impl Store {
    fn new(place: Place) -> Self {
        let prefix = format!("app-{:016x}", fastrand::u64(..));
        Self { place, prefix }
    }

    /// Returns a future like the other constructors, which is ready at once.
    pub fn memory() -> Ready<Self> {
        let memory = MemoryBackend::builder().max_bytes(4 * LARGEST_VALUE as u64).shards(1);
        ready(Self::new(Place::Memory(memory.build())))
    }

    pub async fn redis() -> Self {
        Self::new(Place::Redis(Redis::shared().await.url().to_owned()))
    }

    pub async fn at_rest() -> Self {
        Self::new(Place::AtRest(Redis::shared().await.url().to_owned()))
    }

    pub async fn memcached() -> Self {
        Self::new(Place::Memcached(Memcached::shared().await.url()))
    }

    /// All tests share one table.
    pub async fn dynamodb() -> Self {
        static TABLE: OnceCell<()> = OnceCell::const_new();
        let endpoint = DynamoDb::shared().await.endpoint();
        let name = table_name();
        TABLE.get_or_init(|| create_table(endpoint, name)).await;
        Self::new(Place::DynamoDb(endpoint.to_owned(), name))
    }

    /// Returns the same store with the prefix of another application.
    pub fn elsewhere(&self) -> Self {
        Self::new(self.place.clone())
    }

    /// Returns a backend with its own connections, like another process.
    pub async fn backend(&self) -> Arc<dyn Backend> {
        match &self.place {
            Place::Memory(memory) => Arc::new(memory.clone()),
            Place::Redis(url) => Arc::new(redis(url).await),
            Place::AtRest(url) => {
                let store = AtRest::new(redis(url).await)
                    .with_compression(Compression::zstd().with_threshold(0))
                    .with_encryption(KeyRing::new([("test", [7; 32])]).unwrap())
                    .with_max_decompressed(LARGEST_VALUE);
                Arc::new(store)
            }
            Place::Memcached(url) => {
                let memcached = MemcachedBackend::builder()
                    .url(url)
                    .connect_timeout(PATIENCE)
                    .operation_timeout(PATIENCE);
                Arc::new(memcached.connect().await.unwrap())
            }
            Place::DynamoDb(endpoint, table) => Arc::new(table_at(endpoint, table).connect().await.unwrap()),
        }
    }

    /// Returns a cache like that of a process of the application. Each call is another process.
    pub async fn cache(&self) -> Cache {
        self.cache_waiting(PATIENCE).await
    }

    /// As [`cache`](Self::cache), with a time limit for calls to the store.
    pub async fn cache_waiting(&self, time: Duration) -> Cache {
        Cache::builder_shared(self.backend().await)
            .prefix(&self.prefix)
            .ttl(Duration::from_secs(600))
            .backend_timeout(time)
            .lease_time(PATIENCE)
            .build()
    }
}

async fn redis(url: &str) -> RedisBackend {
    let redis = RedisBackend::builder()
        .url(url)
        .operation_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .unresponsive_timeout(PATIENCE)
        .max_value_bytes(LARGEST_VALUE);
    redis.connect().await.unwrap()
}

/// A server for one test, which may break it.
#[derive(Debug)]
pub enum Own {
    Redis(Redis),
    Memcached(Memcached),
    DynamoDb(DynamoDb),
}

impl Own {
    pub async fn redis() -> Self {
        Self::Redis(Redis::start().await)
    }

    pub async fn memcached() -> Self {
        Self::Memcached(Memcached::start(1).await)
    }

    pub async fn dynamodb() -> Self {
        let server = DynamoDb::start().await;
        create_table(server.endpoint(), table_name()).await;
        Self::DynamoDb(server)
    }

    pub fn store(&self) -> Store {
        Store::new(match self {
            Self::Redis(server) => Place::Redis(server.url().to_owned()),
            Self::Memcached(server) => Place::Memcached(server.url()),
            Self::DynamoDb(server) => Place::DynamoDb(server.endpoint().to_owned(), table_name()),
        })
    }

    pub async fn kill(&self) {
        match self {
            Self::Redis(server) => server.kill().await,
            Self::Memcached(server) => server.kill(0).await,
            Self::DynamoDb(server) => server.kill().await,
        }
    }

    /// Freezes the server: connections stay open, and nothing answers.
    pub async fn freeze(&self) {
        match self {
            Self::Redis(server) => server.freeze().await,
            Self::Memcached(server) => server.freeze(0).await,
            Self::DynamoDb(server) => server.freeze().await,
        }
    }

    /// Ends [`freeze`](Self::freeze).
    pub async fn thaw(&self) {
        match self {
            Self::Redis(server) => server.thaw().await,
            Self::Memcached(server) => server.thaw(0).await,
            Self::DynamoDb(server) => server.thaw().await,
        }
    }

    /// Starts the server again, empty.
    pub async fn restart(&self) {
        match self {
            Self::Redis(server) => server.restart().await,
            Self::Memcached(server) => server.restart(0).await,
            Self::DynamoDb(server) => {
                server.restart().await;
                // Unlike the service, DynamoDB Local loses its tables.
                create_table(server.endpoint(), table_name()).await;
            }
        }
    }
}

/// Returns a name that is the same in this run and differs from those of earlier runs on the same server.
fn table_name() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| format!("app-{:016x}", fastrand::u64(..)))
}

fn table_at(endpoint: &str, table: &str) -> DynamoBackendBuilder {
    DynamoBackend::builder()
        .table(table)
        .endpoint(endpoint)
        .region("us-east-1")
        .static_credentials("local", "local")
        .connect_timeout(PATIENCE)
        .attempt_timeout(PATIENCE)
        .operation_timeout(PATIENCE)
}

async fn create_table(endpoint: &str, table: &str) {
    let backend = table_at(endpoint, table).connect().await.unwrap();
    backend.create_table_if_missing().await.unwrap();
}
