//! Late tags: tags that are not known until the load has ended.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use cache_core::FreshnessWindows;
use cache_engine::{Cache, Fill, Lookup, StoreOutcome};
use support::{Fate, Gate, Remote, SEC, TokioClock, local, over};

fn all() -> [Cache; 3] {
    [
        local(&TokioClock::new()).build(),
        over(&Remote::new()).build(),
        over(&Remote::without_clear()).build(),
    ]
}

async fn miss(cache: &Cache) -> Fill<u32> {
    match cache.adapter().lookup::<u32>(&cache.key("key")).await {
        Lookup::Miss(fill) => fill,
        other => panic!("{other:?}"),
    }
}

async fn store(cache: &Cache, fill: Fill<u32>) -> StoreOutcome {
    fill.store(Arc::new(1), cache.adapter().coder(), FreshnessWindows::new(SEC))
        .await
}

async fn has(cache: &Cache) -> bool {
    cache.get::<u32>("key").await.unwrap().is_some()
}

#[tokio::test(start_paused = true)]
async fn they_invalidate_like_any_other() {
    for cache in all() {
        let late = cache.adapter().with_late_tags(true);
        let mut fill = miss(&late).await;
        fill.add_late_tags(["group"]).await;
        assert!(store(&late, fill).await.is_stored());
        assert!(has(&cache).await);
        cache.invalidate_tag("other").await.unwrap();
        assert!(has(&cache).await);
        cache.invalidate_tag("group").await.unwrap();
        assert!(!has(&cache).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_not_stored_if_any_tag_was_invalidated_while_it_was_loaded() {
    for cache in all() {
        for soft in [false, true] {
            let late = cache.adapter().with_late_tags(true);
            let mut fill = miss(&late).await;
            if soft {
                cache.soft().invalidate_tag("group").await.unwrap();
            } else {
                cache.invalidate_tag("group").await.unwrap();
            }
            fill.add_late_tags(["group"]).await;
            assert!(matches!(store(&late, fill).await, StoreOutcome::Fenced));
            assert!(!has(&cache).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nor_without_what_it_takes_to_know() {
    for cache in all() {
        let mut fill = miss(&cache).await;
        fill.add_late_tags(["group"]).await;
        assert!(matches!(store(&cache, fill).await, StoreOutcome::Fenced));
        assert!(!has(&cache).await);
        // No tags are no matter.
        let mut fill = miss(&cache).await;
        fill.add_late_tags(<[&str; 0]>::default()).await;
        assert!(store(&cache, fill).await.is_stored());
        cache.invalidate("key").await.unwrap();
    }
}

/// An invalidation that has replaced the sequence and not yet the tag: the value is either not stored or carries a tag that
/// is about to change.
#[tokio::test(start_paused = true)]
async fn an_invalidation_half_way_is_not_missed() {
    for soft in [false, true] {
        let remote = Remote::new();
        let [here, there] = [(); 2].map(|()| over(&remote).build());
        let late = here.adapter().with_late_tags(true);
        // The tag exists already.
        here.with_tags(["group"]).set("other", 1_u32).await.unwrap();
        let mut fill = miss(&late).await;
        let gate = Gate::closed();
        let is_tag = move |call: &support::Call| (call.is("set") && call.key.contains("!tag:")) || call.is("set_many");
        remote.once(Fate::Hold(gate.clone()), is_tag);
        let invalidating = tokio::spawn(async move {
            if soft {
                there.soft().invalidate_tag("group").await.unwrap();
            } else {
                there.invalidate_tag("group").await.unwrap();
            }
        });
        gate.reached().await;
        fill.add_late_tags(["group"]).await;
        assert!(matches!(store(&late, fill).await, StoreOutcome::Fenced));
        gate.open();
        invalidating.await.unwrap();
        assert!(!has(&here).await);
    }
}

/// A value that is changed without being loaded anew is no newer than it was.
#[tokio::test(start_paused = true)]
async fn a_change_to_a_value_carries_its_tags_on_as_they_were() {
    for cache in all() {
        let tagged = cache.adapter().with_late_tags(true);
        let mut fill = miss(&tagged).await;
        fill.add_late_tags(["group"]).await;
        assert!(store(&tagged, fill).await.is_stored());
        for invalidated in [false, true] {
            let Lookup::Miss(mut fill) = cache.adapter().lookup_anew::<u32>(&cache.key("key")).await else {
                panic!("it is to be loaded anew");
            };
            if invalidated {
                cache.invalidate_tag("group").await.unwrap();
            }
            fill.depend_as_stale();
            assert!(store(&cache, fill).await.is_stored());
            assert_eq!(has(&cache).await, !invalidated);
        }
        // So does one that the source has confirmed, from when that was asked.
        cache.invalidate("key").await.unwrap();
        let mut fill = miss(&tagged).await;
        fill.add_late_tags(["group"]).await;
        store(&tagged, fill).await;
        let Lookup::Miss(mut fill) = cache.adapter().lookup_anew::<u32>(&cache.key("key")).await else {
            panic!("it is to be loaded anew");
        };
        fill.keep_tags_of_stale();
        store(&cache, fill).await;
        assert!(has(&cache).await);
        cache.invalidate_tag("group").await.unwrap();
        assert!(!has(&cache).await);
    }
}
