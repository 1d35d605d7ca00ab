//! The encoding of stored responses, in a cache on a store that only holds bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{app, bytes_only, get};
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;

#[tokio::test]
async fn a_store_of_bytes_gives_the_same_answers() {
    let clock = ManualClock::new();
    let backend = bytes_only(&clock);
    let cache = Cache::builder(backend).clock(clock.clone()).build();
    let (app, calls) = app(CacheLayer::new(cache).ttl(Duration::from_secs(60)), |call, parts| {
        let vary = if parts.uri.path() == "/vary" { "accept" } else { "" };
        ([("vary", vary), ("x-call", "yes")], format!("{call}"))
    });
    for path in ["/", "/vary"] {
        let miss = get(&app, path).await;
        clock.advance(Duration::from_secs(3));
        let hit = get(&app, path).await;
        assert_eq!(
            (miss.x_cache(), hit.x_cache()),
            ("MISS", "HIT"),
            "{path} {}",
            hit.cache_status()
        );
        assert_eq!(
            (hit.text(), hit.header("x-call"), hit.header("etag")),
            (miss.text(), "yes", miss.header("etag"))
        );
        assert_eq!((hit.header("age"), hit.header("date")), ("3", miss.header("date")));
    }
    assert_eq!(calls.count(), 2);
}
