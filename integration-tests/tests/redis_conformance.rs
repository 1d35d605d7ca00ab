//! The conformance kit on a Redis server, a Cluster and a master behind Sentinels.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cache_redis::RedisBackend;
use integration_tests::{Redis, RedisCluster, RedisSentinel};

async fn connect(url: &str) -> RedisBackend {
    RedisBackend::connect(url).await.unwrap()
}

mod single {
    use super::*;

    cache_core::conformance!(connect(Redis::shared().await.url()).await);
}

mod cluster {
    use super::*;

    cache_core::conformance!(connect(RedisCluster::shared().await.url()).await);
}

mod sentinel {
    use super::*;

    cache_core::conformance!(connect(RedisSentinel::shared().await.url()).await);
}
