//! A shop with one table, whose rows are cached.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod proxy;

use std::convert::Infallible;
use std::time::Duration;

use cache_engine::{Cache, Deferred};
use cache_memory::MemoryBackend;
use tokio::time::{Instant, sleep};

/// How long anything may take on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn memory() -> Cache {
    Cache::builder(MemoryBackend::default())
        .ttl(Duration::from_secs(3600))
        .build()
}

/// Reads a row through the cache.
pub async fn cached(cache: &Cache, read: impl Future<Output = String> + Send) -> String {
    let rows = cache.with_tags(["row"]);
    let load = || async move { Ok::<_, Infallible>(read.await) };
    let row = rows.borrowing().get_or_load("row", load).await.unwrap();
    (*row).clone()
}

/// Begins to collect that the row is changed.
pub fn changing(cache: &Cache) -> Deferred {
    let deferred = cache.deferred();
    deferred.add_tag("row");
    deferred
}

/// Waits until `read` returns `expected`.
pub async fn until(expected: &str, read: impl AsyncFn() -> String) {
    let begun = Instant::now();
    loop {
        let found = read().await;
        if found == expected {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{found:?} is outdated, {expected:?} is expected"
        );
        sleep(Duration::from_millis(20)).await;
    }
}
