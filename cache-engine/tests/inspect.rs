//! What `Cache::inspect` shows of a key.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use cache_core::SetOptions;
use cache_engine::{AdapterEvent, Cache, CacheTier, InspectedContent, InspectedState, Inspection};
use support::{Fate, Gate, Log, Remote, SEC, idle, memory_builder, over};

async fn fresh_for(cache: &Cache) -> Option<Duration> {
    cache.inspect("key").await.unwrap().store.unwrap().fresh_for()
}

async fn state(cache: &Cache, key: &str) -> Option<InspectedState> {
    cache.inspect(key).await.unwrap().store.map(|entry| entry.state)
}

fn two(remote: &Remote) -> [Cache; 2] {
    let clock = support::TokioClock::new();
    let local = Cache::builder(memory_builder(clock).build()).clock(clock);
    [over(remote), local].map(|builder| {
        builder
            .ttl(SEC)
            .stale_while_revalidate(SEC)
            .stale_if_error(3 * SEC)
            .negative_ttl(SEC)
            .error_ttl(SEC)
            .build()
    })
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_value() {
    for (cache, coder) in two(&Remote::new()).into_iter().zip([Some("json".to_owned()), None]) {
        assert_eq!(state(&cache, "key").await, None);
        let tagged = cache.with_tags(["a", "b"]);
        tagged.set("key", "value".to_owned()).await.unwrap();
        let entry = cache.inspect("key").await.unwrap().store.unwrap();
        assert_eq!((entry.tier, entry.state), (CacheTier::Store, InspectedState::Fresh));
        assert_eq!(entry.content, InspectedContent::Value { coder });
        assert_eq!(
            (entry.tags, entry.windows.fresh),
            (vec!["a".to_owned(), "b".to_owned()], Some(SEC))
        );
        assert!(
            entry.size > 5 && entry.age.is_zero() && entry.remaining == Some(4 * SEC),
            "{:?}",
            entry.remaining
        );
        for (after, expected) in [
            (SEC, InspectedState::StaleWhileRevalidate),
            (SEC, InspectedState::StaleIfError),
        ] {
            tokio::time::advance(after).await;
            assert_eq!(state(&cache, "key").await, Some(expected));
        }
        assert_eq!(cache.inspect("key").await.unwrap().store.unwrap().age, 2 * SEC);

        tagged.set("key", "value".to_owned()).await.unwrap();
        cache.soft().invalidate_tag("a").await.unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(state(&cache, "key").await, Some(InspectedState::StaleWhileRevalidate));
        cache.invalidate_tag("b").await.unwrap();
        assert_eq!(state(&cache, "key").await, Some(InspectedState::Invalidated));
        assert_eq!(cache.stats().total().requests(), 0, "it counts as no request");
    }
}

#[tokio::test(start_paused = true)]
async fn how_much_longer_a_value_is_fresh() {
    for cache in two(&Remote::new()) {
        cache.set("key", 1).await.unwrap();
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(fresh_for(&cache).await, Some(Duration::from_millis(600)));
        // Its lifetime has 600 ms left, and yet it is not fresh any more.
        cache.soft().invalidate("key").await.unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(fresh_for(&cache).await, Some(Duration::ZERO));

        cache.with_ttl(None).set("key", 1).await.unwrap();
        assert_eq!(fresh_for(&cache).await, None);

        cache.set("key", 1).await.unwrap();
        tokio::time::advance(SEC).await;
        assert_eq!(fresh_for(&cache).await, Some(Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_a_value() {
    let remote = Remote::new();
    for cache in two(&remote) {
        let absent = || async { Ok::<Option<i32>, Infallible>(None) };
        cache.get_or_load_optional("absent", absent).await.unwrap();
        cache
            .get_or_load("failed", || async { Err::<i32, _>("no") })
            .await
            .unwrap_err();
        let gate = Gate::closed();
        let (loading, held) = (cache.clone(), gate.clone());
        let load = tokio::spawn(async move {
            let load = || async move {
                held.pass().await;
                Ok::<_, Infallible>(1)
            };
            loading.get_or_load("loading", load).await.unwrap();
        });
        gate.reached().await;
        let mut found = Vec::new();
        for key in ["absent", "failed", "loading"] {
            let entry = cache.inspect(key).await.unwrap().store.unwrap();
            found.push((entry.content, entry.state));
        }
        assert_eq!(found[0], (InspectedContent::Absent, InspectedState::Fresh));
        assert!(
            matches!(found[1], (InspectedContent::Failure { .. }, InspectedState::Fresh)),
            "{found:?}"
        );
        assert_eq!(found[2], (InspectedContent::Lease, InspectedState::NotUsable));
        gate.open();
        load.await.unwrap();
    }
    let [cache, _] = two(&remote);
    remote
        .plant(&cache.key("broken"), Bytes::from_static(b"?"), SetOptions::new(SEC))
        .await;
    let entry = cache.inspect("broken").await.unwrap().store.unwrap();
    assert!(
        matches!(entry.content, InspectedContent::Unreadable { .. }),
        "{entry:?}"
    );
    assert_eq!(entry.state, InspectedState::NotUsable);
}

#[tokio::test(start_paused = true)]
async fn near_copies_refusals_and_a_store_that_is_down() {
    let (remote, log) = (Remote::telling(), Log::new());
    let near = memory_builder(support::TokioClock::new()).build();
    let cache = over(&remote).near(near).observer(log.clone()).build();
    cache.set("key", 1).await.unwrap();
    idle().await;
    cache.get::<i32>("key").await.unwrap();
    let Inspection { near, store, .. } = cache.inspect("key").await.unwrap();
    assert_eq!(
        (near.map(|entry| entry.tier), store.map(|entry| entry.tier)),
        (Some(CacheTier::Near), Some(CacheTier::Store))
    );

    let key = cache.key("page");
    let report = |reason| cache.adapter().report(&key, AdapterEvent::Refused(reason));
    report("private");
    tokio::time::advance(5 * SEC).await;
    report("set-cookie");
    cache
        .adapter()
        .report(&cache.key("other"), AdapterEvent::Refused("status"));
    let refused = cache.inspect(&key).await.unwrap().refused;
    assert_eq!(refused, [("set-cookie", Duration::ZERO), ("private", 5 * SEC)]);

    log.take();
    remote.always(Fate::Fail(cache_core::ErrorKind::Unavailable));
    cache.inspect("key").await.unwrap_err();
    assert_eq!(log.take(), ["store_failed"]);
}
