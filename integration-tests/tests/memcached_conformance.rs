//! The conformance kit on one memcached server and on three.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use cache_memcached::MemcachedBackend;
use integration_tests::Memcached;

async fn connect(url: &str) -> MemcachedBackend {
    // A busy machine is no reason to fail.
    let patience = Duration::from_secs(20);
    let builder = MemcachedBackend::builder()
        .url(url)
        .connect_timeout(patience)
        .operation_timeout(patience);
    builder.connect().await.unwrap()
}

mod one_server {
    use super::*;

    cache_core::conformance!(connect(&Memcached::shared().await.url()).await, declares: [value_bytes]);
}

mod three_servers {
    use super::*;

    cache_core::conformance!(connect(&Memcached::shared_fleet().await.url()).await, declares: [value_bytes]);
}
