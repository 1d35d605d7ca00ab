//! The conformance kit on a Redis server, a Cluster and a master behind Sentinels.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use cache_core::conformance::Subject;
use cache_redis::RedisBackend;
use integration_tests::{Redis, RedisCluster, RedisSentinel};

async fn connect(url: &str) -> Subject {
    // A busy machine is no reason to fail.
    let patience = Duration::from_secs(20);
    let builder = RedisBackend::builder()
        .url(url)
        .connect_timeout(patience)
        .operation_timeout(patience)
        .unresponsive_timeout(patience);
    let handle = async || builder.clone().connect().await.unwrap();
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
