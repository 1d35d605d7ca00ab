//! The conformance kit on a Redis server, a Cluster and a master behind Sentinels.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cache_core::conformance::Subject;
use cache_redis::RedisBackend;
use integration_tests::{Redis, RedisCluster, RedisSentinel};

async fn connect(url: &str) -> Subject {
    let handle = async || RedisBackend::connect(url).await.unwrap();
    Subject::new(handle().await).with_other_handle(handle().await)
}

mod single {
    use super::*;

    cache_core::conformance!(connect(Redis::shared().await.url()).await, declares: [clear, subscribe, value_bytes]);
}

mod cluster {
    use super::*;

    cache_core::conformance!(connect(RedisCluster::shared().await.url()).await, declares: [clear, subscribe, value_bytes]);
}

mod sentinel {
    use super::*;

    cache_core::conformance!(connect(RedisSentinel::shared().await.url()).await, declares: [clear, subscribe, value_bytes]);
}
