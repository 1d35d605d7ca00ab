//! The default cache. It is global to the process, so there is one test for all of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::panic::AssertUnwindSafe;

use cache_core::ManualClock;
use cache_engine::{DefaultCacheIsSet, cached, default_cache, invalidates, set_default_cache};
use futures_util::FutureExt;
use support::{Count, local};

#[cached(skip(runs))]
async fn counted(runs: &Count, id: u8) -> usize {
    runs.up() + usize::from(id)
}

#[invalidates(key = "x")]
async fn write() {}

#[tokio::test]
async fn functions_that_name_no_cache_use_the_default_one() {
    let runs = Count::new();
    let panic = AssertUnwindSafe(counted(&runs, 0)).catch_unwind().await.unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("cached_default::counted"), "{message}");
    assert!(message.contains("set_default_cache"), "{message}");
    assert_eq!(runs.get(), 0);
    assert!(AssertUnwindSafe(write()).catch_unwind().await.is_err());
    assert!(default_cache().is_none());

    let cache = local(&ManualClock::new()).build();
    assert_eq!(set_default_cache(cache.clone()), Ok(()));
    assert_eq!(
        set_default_cache(local(&ManualClock::new()).build()),
        Err(DefaultCacheIsSet)
    );
    assert_eq!((counted(&runs, 0).await, counted(&runs, 0).await), (1, 1));
    let key = counted_entry(&runs, 0).key().unwrap().clone();
    assert!(cache.get::<usize>(&key).await.unwrap().is_some());
    cache.set("x", 1_u8).await.unwrap();
    write().await;
    assert!(cache.get::<u8>("x").await.unwrap().is_none());
}
