//! Calls that go past the caches.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;

use cache_core::ManualClock;
use cache_engine::{Cache, bypass, cached, in_current_load};
use support::{Count, Gate, Remote, idle, local, over};

#[cached(cache = cache, key = "part", ttl = "60s", tags = ["part"])]
async fn part(cache: &Cache, loads: &Count) -> usize {
    loads.up()
}

#[cached(cache = cache, key = "detached", ttl = "60s", detached)]
async fn detached(cache: &Cache, loads: &Count) -> usize {
    loads.up()
}

async fn value(cache: &Cache, loads: &Count) -> usize {
    let loads = loads.clone();
    let load = move || async move { Ok::<_, Infallible>(loads.up()) };
    *cache.get_or_load("value", load).await.unwrap()
}

#[tokio::test]
async fn nothing_is_read_or_stored() {
    let cache = local(&ManualClock::new()).build();
    let loads = Count::new();
    assert_eq!(part(&cache, &loads).await, 1);
    assert_eq!(bypass(part(&cache, &loads)).await, 2);
    assert_eq!(part(&cache, &loads).await, 1, "what is stored stays");
    bypass(async {
        assert_eq!(part(&cache, &loads).await, 3);
        assert_eq!(detached(&cache, &loads).await, 4);
        assert_eq!(value(&cache, &loads).await, 5);
        assert!(cache.get::<usize>("part").await.unwrap().is_none());
        assert_eq!(cache.get_many::<usize, _>(["part"]).await.unwrap(), [None]);
    })
    .await;
    assert_eq!(detached(&cache, &loads).await, 6, "nothing was stored");
    assert_eq!(value(&cache, &loads).await, 7);
    assert_eq!(part(&cache, &loads).await, 1);
}

#[tokio::test]
async fn no_call_of_the_store_is_made() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    let loads = Count::new();
    bypass(part(&cache, &loads)).await;
    bypass(value(&cache, &loads)).await;
    assert!(remote.take_calls().is_empty());
    part(&cache, &loads).await;
    assert!(!remote.take_calls().is_empty());
}

/// Neither waits for the other.
#[tokio::test]
async fn nobody_waits() {
    let cache = local(&ManualClock::new()).build();
    let gate = Gate::closed();
    let loading = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let load = move || async move {
                gate.pass().await;
                Ok::<_, Infallible>(0_usize)
            };
            *cache.get_or_load("value", load).await.unwrap()
        }
    });
    gate.reached().await;
    assert_eq!(bypass(value(&cache, &Count::new())).await, 1);
    gate.open();
    assert_eq!(loading.await.unwrap(), 0);
}

#[tokio::test]
async fn writes_and_invalidations_work_as_usual() {
    let cache = local(&ManualClock::new()).build();
    let loads = Count::new();
    part(&cache, &loads).await;
    bypass(async { cache.invalidate_tag("part").await }).await.unwrap();
    assert_eq!(part(&cache, &loads).await, 2);
    bypass(async { cache.set("part", 7_usize).await }).await.unwrap();
    assert_eq!(part(&cache, &loads).await, 7);
}

#[tokio::test]
async fn a_spawned_task_bypasses_on_request() {
    let cache = local(&ManualClock::new()).build();
    let loads = Count::new();
    part(&cache, &loads).await;
    for handed_on in [false, true] {
        let (cache, loads) = (cache.clone(), loads.clone());
        let found = bypass(async move {
            let call = async move { part(&cache, &loads).await };
            if handed_on {
                tokio::spawn(in_current_load(call)).await
            } else {
                tokio::spawn(call).await
            }
        });
        assert_eq!(found.await.unwrap(), if handed_on { 2 } else { 1 });
    }
    idle().await;
}

/// A value that is made from a bypassed part depends on its tags all the same.
#[tokio::test]
async fn the_tags_of_what_is_bypassed_are_not_lost() {
    for cache in [local(&ManualClock::new()).build(), over(&Remote::new()).build()] {
        for way in 0..2 {
            let (of_load, loads) = (cache.clone(), Count::new());
            let load = move || async move {
                Ok::<_, Infallible>(match way {
                    0 => bypass(part(&of_load, &loads)).await,
                    _ => bypass(value(&of_load.with_tags(["part"]), &loads)).await,
                })
            };
            cache.get_or_load("whole", load).await.unwrap();
            cache.invalidate_tag("another").await.unwrap();
            assert!(cache.get::<usize>("whole").await.unwrap().is_some(), "{way}");
            cache.invalidate_tag("part").await.unwrap();
            assert!(cache.get::<usize>("whole").await.unwrap().is_none(), "{way}");
        }
    }
}

/// Two futures of one task take turns on one thread, and only one of them goes past the cache. So it is after a panic.
#[tokio::test]
async fn neither_a_neighbour_nor_what_follows_a_panic_bypasses() {
    let (cache, loads) = (local(&ManualClock::new()).build(), Count::new());
    value(&cache, &loads).await;
    let turns = || async {
        tokio::task::yield_now().await;
        let value = value(&cache, &loads).await;
        tokio::task::yield_now().await;
        value
    };
    tokio::join!(bypass(turns()), turns());
    assert_eq!(loads.get(), 2, "the neighbour has a hit");

    let panicking = std::panic::AssertUnwindSafe(bypass(async { panic!("on purpose") }));
    assert!(futures_util::FutureExt::catch_unwind(panicking).await.is_err());
    value(&cache, &loads).await;
    assert_eq!(loads.get(), 2, "what follows has a hit");
}
