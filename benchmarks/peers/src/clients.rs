//! Clients of Redis, and what they read and write.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Raw};
use cache_engine::{Cache, Policy};
use cache_redis::RedisBackend;
use fred::prelude::{Builder, ClientLike, Config, Pool};

/// 1 KiB.
pub const VALUE: [u8; 1024] = [b'x'; 1024];
/// Short, so that what misses leave does not fill the server.
pub const LIFETIME: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 2;

/// Returns what is written.
#[must_use]
pub fn value() -> Bytes {
    Bytes::from_static(&VALUE)
}

/// Connects to Redis at a URL.
pub async fn redis(url: &str) -> RedisBackend {
    let builder = RedisBackend::builder().url(url);
    builder.connections(CONNECTIONS).connect().await.unwrap()
}

/// Connects to Redis at a URL, by fred alone.
pub async fn fred(url: &str) -> Pool {
    let mut builder = Builder::from_config(Config::from_url(url).unwrap());
    builder.with_connection_config(|config| config.tcp.nodelay = Some(true));
    builder.with_performance_config(|config| config.default_command_timeout = Duration::from_secs(1));
    let pool = builder.build_pool(CONNECTIONS).unwrap();
    pool.init().await.unwrap();
    pool
}

/// Returns a cache with a prefix of its own.
pub fn cache(backend: impl Backend) -> Cache<Raw> {
    let prefix = format!("bench-{:016x}", fastrand::u64(..));
    let builder = Cache::builder(backend).coder(Raw).prefix(&prefix);
    builder.policy(Policy::new(LIFETIME)).build()
}
