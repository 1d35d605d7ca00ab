//! The coder `MemoryOnly`: values that cannot be serialized, in caches in memory alone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;

use cache_core::{ErrorKind, ManualClock, MemoryOnly};
use support::{Count, Log, Remote, local, over};

/// A value that serde knows nothing about.
struct Compiled(Box<dyn Fn(u32) -> u32 + Send + Sync>);

#[tokio::test]
async fn memory_takes_values_that_cannot_be_serialized() {
    let cache = local(&ManualClock::new()).coder(MemoryOnly).try_build().unwrap();
    let loads = Count::new();
    for _ in 0..3 {
        let loads = loads.clone();
        let load = move || async move {
            loads.up();
            Ok::<_, Infallible>(Compiled(Box::new(|number| number + 1)))
        };
        let value = cache.get_or_load("key", load).await.unwrap();
        assert_eq!((value.0)(1), 2);
    }
    assert_eq!(loads.get(), 1);
    cache.invalidate("key").await.unwrap();
    assert!(cache.get::<Compiled>("key").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn other_stores_are_refused() {
    let error = over(&Remote::new()).coder(MemoryOnly).try_build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("MemoryBackend"), "{error}");
}

/// `build` has no error to return, so the values are loaded and not stored.
#[tokio::test(start_paused = true)]
async fn other_stores_store_nothing() {
    let log = Log::new();
    let cache = over(&Remote::new()).observer(log.clone()).coder(MemoryOnly).build();
    for _ in 0..2 {
        let load = || async { Ok::<_, Infallible>(Compiled(Box::new(|number| number))) };
        let value = cache.get_or_load("key", load).await.unwrap();
        assert_eq!((value.0)(7), 7);
    }
    assert_eq!(log.count("encode_failed"), 2);
}

#[test]
fn a_cache_tells_its_names() {
    let builder = || local(&ManualClock::new()).prefix("shop");
    let named = builder().name("sessions").build();
    assert_eq!((named.name(), builder().build().name()), ("sessions", "shop"));
    assert_eq!(named.with_namespace("users").namespace().name(), "users");
}
