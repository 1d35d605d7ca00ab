//! A tag that this process has invalidated stays invalidated here, whichever tag versions are remembered or forgotten.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use cache_core::{EntryKind, FreshnessWindows};
use cache_engine::{Cache, Lookup};
use support::{Call, Fate, Gate, Remote, SEC, TokioClock, idle, memory, over};

/// More than are remembered of tags.
const MANY: u32 = 10_001;

async fn value(cache: &Cache) -> Option<u32> {
    cache.get::<u32>("key").await.unwrap().map(|value| *value)
}

/// A cache with a near tier of 60 seconds.
fn near(remote: &Remote) -> Cache {
    over(remote)
        .near(memory(TokioClock::new()))
        .near_max_age(60 * SEC)
        .build()
}

fn of_tag(call: &Call) -> bool {
    call.writes(EntryKind::Tag) && call.key.contains("!tag:")
}

/// How often the store is asked for a near copy of an entry with a tag of its own.
async fn asked_for(remote: &Remote, cache: &Cache, key: &str) -> usize {
    remote.take_calls();
    assert!(cache.get::<u32>(key).await.unwrap().is_some());
    remote.take_calls().len()
}

#[tokio::test(start_paused = true)]
async fn however_many_other_tags_are_read_meanwhile() {
    for soft in [false, true] {
        let remote = Remote::without_clear();
        let here = near(&remote);
        here.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
        here.with_tags(["kept"]).set("kept", 1_u32).await.unwrap();
        assert_eq!(value(&here).await, Some(1));
        if soft {
            here.soft().invalidate_tag("tag").await.unwrap();
        } else {
            here.invalidate_tag("tag").await.unwrap();
        }
        let others: Vec<String> = (0..MANY).map(|n| n.to_string()).collect();
        for other in &others {
            here.with_tags([other]).set(other, 1_u32).await.unwrap();
        }
        assert_eq!(value(&here).await, None);
        assert_eq!(asked_for(&remote, &here, "kept").await, 0, "other copies stay");
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_other_tags_are_invalidated_meanwhile() {
    let remote = Remote::without_clear();
    let here = near(&remote);
    here.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
    here.with_tags(["kept"]).set("kept", 1_u32).await.unwrap();
    here.invalidate_tag("tag").await.unwrap();
    here.invalidate_tags((0..MANY).map(|n| n.to_string())).await.unwrap();
    assert_eq!(value(&here).await, None);
    // Which ones they were is not known any more, so other copies are looked after, once.
    assert!(asked_for(&remote, &here, "kept").await > 0);
    assert_eq!(asked_for(&remote, &here, "kept").await, 0);
}

/// In front of a store that tells of changes, copies are used up to their maximum age while it does not.
#[tokio::test(start_paused = true)]
async fn although_the_store_stops_telling_of_changes() {
    for elsewhere in [false, true] {
        let remote = Remote::telling();
        let (here, there) = (near(&remote), near(&remote));
        for cache in [&here, &there] {
            value(cache).await;
        }
        idle().await;
        here.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
        here.with_tags(["kept"]).set("kept", 1_u32).await.unwrap();
        idle().await;
        assert_eq!(value(&here).await, Some(1));
        asked_for(&remote, &here, "kept").await;
        let invalidating = if elsewhere { &there } else { &here };
        invalidating.invalidate_tag("tag").await.unwrap();
        idle().await;
        remote.teller().break_off();
        idle().await;
        assert_eq!(asked_for(&remote, &here, "kept").await, 0, "copies are used");
        assert_eq!(value(&here).await, None);
    }
}

/// What somebody was about to read of the tag says nothing any more.
#[tokio::test(start_paused = true)]
async fn although_somebody_has_read_the_tag_just_before() {
    let remote = Remote::telling();
    let here = over(&remote)
        .near(memory(TokioClock::new()))
        .tag_cache_ttl(60 * SEC)
        .build();
    value(&here).await;
    idle().await;
    let plain = over(&remote).build();
    plain.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
    idle().await;
    let gate = Gate::closed();
    remote.once(Fate::HoldAnswer(gate.clone()), |call| call.is("get_many"));
    let reading = tokio::spawn({
        let here = here.clone();
        async move { value(&here).await }
    });
    gate.reached().await;
    here.invalidate_tag("tag").await.unwrap();
    idle().await;
    gate.open();
    assert_eq!(reading.await.unwrap(), Some(1), "asked for before");
    assert_eq!(value(&here).await, None);
}

/// Whose answers come in the opposite order.
#[tokio::test(start_paused = true)]
async fn although_two_have_invalidated_it_at_once() {
    let remote = Remote::without_clear();
    let here = over(&remote).tag_cache_ttl(60 * SEC).build();
    let gate = Gate::closed();
    remote.once(Fate::HoldAnswer(gate.clone()), of_tag);
    let first = tokio::spawn({
        let here = here.clone();
        async move { here.invalidate_tag("tag").await.unwrap() }
    });
    gate.reached().await;
    // Carries what the first one wrote.
    here.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
    here.invalidate_tag("tag").await.unwrap();
    gate.open();
    first.await.unwrap();
    assert_eq!(value(&here).await, None);
}

/// By when it may no longer be remembered that it was.
#[tokio::test(start_paused = true)]
async fn although_a_value_from_before_is_stored_with_a_change_to_it() {
    let remote = Remote::without_clear();
    let here = over(&remote)
        .near(memory(TokioClock::new()))
        .near_max_age(60 * SEC)
        .ttl(3600 * SEC)
        .stale_if_error(3600 * SEC)
        .build();
    here.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
    here.soft().invalidate_tag("tag").await.unwrap();
    tokio::time::advance(59 * SEC).await;
    let Lookup::Miss(mut fill) = here.adapter().lookup_anew::<u32>(&here.key("key")).await else {
        panic!("it is to be loaded anew");
    };
    for other in 0..MANY {
        here.with_tags([other.to_string()]).set("other", 1_u32).await.unwrap();
    }
    fill.depend_as_stale();
    let stored = fill
        .store(Arc::new(2), here.adapter().coder(), FreshnessWindows::new(3600 * SEC))
        .await;
    assert!(stored.is_stored());
    tokio::time::advance(2 * SEC).await;
    assert_eq!(value(&here).await, None);
}
