//! Two caches with their own connections on the same Redis, like two processes: one load, and no old value after an
//! invalidation by either of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_engine::Cache;
use cache_redis::RedisBackend;
use integration_tests::{Redis, RedisCluster, RedisSentinel};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

async fn two(url: &str) -> [Cache; 2] {
    let prefix = format!("engine-{:016x}", fastrand::u64(..));
    let cache = async || {
        let redis = RedisBackend::connect(url).await.unwrap();
        Cache::builder(redis)
            .prefix(&prefix)
            .ttl(Duration::from_secs(60))
            // Long, for a slow machine.
            .backend_timeout(Duration::from_secs(5))
            .build()
            .with_namespace("users")
    };
    [cache().await, cache().await]
}

async fn everywhere(test: impl AsyncFn([Cache; 2])) {
    for url in [
        Redis::shared().await.url(),
        RedisCluster::shared().await.url(),
        RedisSentinel::shared().await.url(),
    ] {
        println!("{url}");
        test(two(url).await).await;
    }
}

/// Begins a load of `value`, which ends when the `Notify` is notified.
async fn begin(cache: &Cache, value: u32) -> (Arc<Notify>, JoinHandle<u32>) {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (cache, began, end) = (cache.clone(), begun.clone(), finish.clone());
    let load = tokio::spawn(async move {
        let load = move || async move {
            began.notify_one();
            end.notified().await;
            Ok::<_, Infallible>(value)
        };
        *cache.get_or_load("42", load).await.unwrap()
    });
    begun.notified().await;
    (finish, load)
}

async fn load_now(cache: &Cache, value: u32) -> u32 {
    let load = move || async move { Ok::<_, Infallible>(value) };
    *cache.get_or_load("42", load).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_loaded_once_for_both() {
    everywhere(async |[one, other]| {
        let loads = Arc::new(AtomicUsize::new(0));
        let mut callers = tokio::task::JoinSet::new();
        for number in 0..100 {
            let cache = if number % 2 == 0 { one.clone() } else { other.clone() };
            let loads = loads.clone();
            callers.spawn(async move {
                let load = move || async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok::<_, Infallible>(loads.fetch_add(1, Ordering::SeqCst))
                };
                *cache.get_or_load("42", load).await.unwrap()
            });
        }
        let values = callers.join_all().await;
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        assert!(values.iter().all(|value| *value == 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_invalidated_while_it_is_loaded_is_not_stored() {
    everywhere(async |[one, other]| {
        let (finish, load) = begin(&one, 1).await;
        other.invalidate("42").await.unwrap();
        finish.notify_one();
        // Only its own caller gets the value.
        assert_eq!(load.await.unwrap(), 1);
        for cache in [&one, &other] {
            assert_eq!(cache.get::<u32>("42").await.unwrap(), None);
        }
        assert_eq!(load_now(&other, 2).await, 2);
        assert_eq!(load_now(&one, 3).await, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_invalidated_is_stored() {
    // The control of the tests beside it.
    everywhere(async |[one, other]| {
        let (finish, load) = begin(&one, 1).await;
        other.invalidate("43").await.unwrap();
        finish.notify_one();
        assert_eq!(load.await.unwrap(), 1);
        assert_eq!(load_now(&other, 2).await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_reaches_what_is_being_loaded() {
    everywhere(async |[one, other]| {
        let beside = one.with_namespace("users2");
        beside.set("42", 7_u32).await.unwrap();
        other.set("41", 7_u32).await.unwrap();
        let (finish, load) = begin(&one, 1).await;
        let cleared = other.clear("users").await.unwrap();
        assert!(cleared.is_some_and(|removed| removed >= 1), "{cleared:?}");
        finish.notify_one();
        assert_eq!(load.await.unwrap(), 1);
        assert_eq!(one.get::<u32>("41").await.unwrap(), None);
        assert_eq!(other.get::<u32>("42").await.unwrap(), None);
        assert_eq!(load_now(&other, 2).await, 2);
        assert_eq!(beside.get::<u32>("42").await.unwrap().as_deref(), Some(&7));
    })
    .await;
}
