//! The lease that is acquired with the read of the record: it holds up nobody who need not wait, and no caller that leaves
//! keeps it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::{EntryKind, ErrorKind};
use cache_engine::{Cache, Lookup};
use support::{Count, Fate, Gate, Remote, SEC, idle, load, over};
use tokio::time::Instant;

fn store() -> Remote {
    Remote::new().getting_or_adding()
}

fn operations(remote: &Remote) -> Vec<&'static str> {
    remote.take_calls().into_iter().map(|call| call.operation).collect()
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_process_share_the_load_and_do_not_wait_for_their_own_lease() {
    let remote = store();
    let cache = over(&remote).build();
    let (loads, gate) = (Count::new(), Gate::closed());
    // The answer to the first caller is the last to come.
    let answer = Gate::closed();
    let held = answer.clone();
    remote.plan(move |call| match call.operation {
        "get_or_add" => Fate::HoldAnswer(held.clone()),
        _ => Fate::Pass,
    });
    let callers: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn(load::<std::convert::Infallible>(
                &cache,
                Some(&gate),
                &loads,
                Ok("value"),
            ))
        })
        .collect();
    idle().await;
    let began = Instant::now();
    answer.open();
    idle().await;
    gate.open();
    for caller in callers {
        assert_eq!(**caller.await.unwrap().as_ref().unwrap(), *"value");
    }
    assert_eq!(loads.get(), 1);
    // `idle` takes a millisecond.
    let took = began.elapsed();
    assert!(
        took <= Duration::from_millis(1),
        "nobody waits for a lease to expire, or polls: {took:?}"
    );
    let calls = operations(&remote);
    let ahead = calls.iter().filter(|call| **call == "get_or_add").count();
    assert_eq!(ahead, 1, "one caller acquires the lease: {calls:?}");
    assert_eq!(calls.last(), Some(&"set"));
    assert_eq!(cache.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_process_waits_for_the_lease() {
    let remote = store();
    let (one, other) = (over(&remote).build(), over(&remote).build());
    let (loads, gate) = (Count::new(), Gate::closed());
    let first = tokio::spawn(load::<std::convert::Infallible>(&one, Some(&gate), &loads, Ok("first")));
    idle().await;
    let second = tokio::spawn(load::<std::convert::Infallible>(&other, None, &loads, Ok("second")));
    idle().await;
    let polls = operations(&remote).len();
    assert!(polls < 6, "a waiting process does not spin: {polls} calls");
    gate.open();
    assert_eq!(**first.await.unwrap().as_ref().unwrap(), *"first");
    assert_eq!(**second.await.unwrap().as_ref().unwrap(), *"first");
    assert_eq!(loads.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hit_writes_nothing() {
    let remote = store();
    let cache = over(&remote).build();
    let loads = Count::new();
    cache.get_or_load("key", loads.loading(1_u32)).await.unwrap();
    let before = remote.take_calls();
    assert_eq!(before.len(), 2);
    for _ in 0..3 {
        cache.get_or_load("key", loads.loading(2_u32)).await.unwrap();
    }
    assert_eq!(operations(&remote), ["get_or_add", "get", "get"]);
    assert_eq!(*cache.get::<u32>("key").await.unwrap().unwrap(), 1);
    assert_eq!(loads.get(), 1);
}

/// The caller leaves at any point of the call: before it is carried out, or before it is answered.
#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_keeps_no_lease() {
    type Held = fn(Gate) -> Fate;
    for (fate, when) in [
        (Fate::Hold as Held, "before the call is carried out"),
        (Fate::HoldAnswer as Held, "before it is answered"),
    ] {
        let remote = store();
        let cache = over(&remote).build();
        let gate = Gate::closed();
        let held = gate.clone();
        remote.plan(move |call| match call.operation {
            "get_or_add" => fate(held.clone()),
            _ => Fate::Pass,
        });
        let loads = Count::new();
        let caller = tokio::spawn(load::<std::convert::Infallible>(&cache, None, &loads, Ok("lost")));
        idle().await;
        caller.abort();
        idle().await;
        assert_eq!(cache.in_flight(), 0, "{when}");
        gate.open();
        idle().await;
        assert_eq!(loads.get(), 0, "{when}: the load had not begun");
        let calls = operations(&remote);
        assert_eq!(calls, ["get_or_add", "delete_if"], "{when}: the lease is released");
        let began = Instant::now();
        let next = load::<std::convert::Infallible>(&cache, None, &loads, Ok("value"));
        assert_eq!(**next.await.as_ref().unwrap(), *"value", "{when}");
        assert_eq!(began.elapsed(), Duration::ZERO, "{when}: the next caller need not wait");
    }
}

/// The lookup of a cached function or an adapter ends before its load begins, and the caller may leave in between.
#[tokio::test(start_paused = true)]
async fn a_fill_that_is_dropped_releases_the_lease() {
    let remote = store();
    let cache = over(&remote).build();
    let key = cache.key("key");
    let Lookup::Miss(fill) = cache.adapter().lookup::<String>(&key).await else {
        panic!("there is nothing yet");
    };
    drop(fill);
    idle().await;
    assert_eq!(operations(&remote), ["get_or_add", "delete_if"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_writes_is_still_read() {
    let remote = store();
    let cache = over(&remote).build();
    let loads = Count::new();
    cache.get_or_load("key", loads.loading(1_u32)).await.unwrap();
    remote.plan(|call| match call.operation {
        "get_or_add" | "set" => Fate::Fail(ErrorKind::Rejected),
        _ => Fate::Pass,
    });
    remote.take_calls();
    for _ in 0..20 {
        assert_eq!(*cache.get_or_load("key", loads.loading(2_u32)).await.unwrap(), 1);
    }
    let calls = operations(&remote);
    let tried = calls.iter().filter(|call| **call == "get_or_add").count();
    assert!(tried <= 5, "after repeated refusals it is only read: {calls:?}");
    assert_eq!(*cache.get_or_load("other", loads.loading(3_u32)).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_during_the_load_fences_it() {
    let remote = store();
    let cache = over(&remote).build();
    let (loads, gate) = (Count::new(), Gate::closed());
    let first = tokio::spawn(load::<std::convert::Infallible>(&cache, Some(&gate), &loads, Ok("old")));
    idle().await;
    over(&remote).build().invalidate("key").await.unwrap();
    gate.open();
    assert_eq!(**first.await.unwrap().as_ref().unwrap(), *"old");
    assert!(cache.get::<String>("key").await.unwrap().is_none());
}

/// A lease that carries outdated versions would make other processes load beside it.
#[tokio::test(start_paused = true)]
async fn a_lease_carries_the_versions_that_its_load_depends_on() {
    let remote = store();
    let (one, other) = (over(&remote).build(), over(&remote).build());
    let tagged = |cache: &Cache| cache.with_tags(["tag"]);
    let loads = Count::new();
    tagged(&one).get_or_load("seen", loads.loading(0_u32)).await.unwrap();
    other.invalidate_tag("tag").await.unwrap();
    let gate = Gate::closed();
    let (held, counted) = (gate.clone(), loads.clone());
    let leader = tagged(&one);
    let first = tokio::spawn(async move {
        let load = move || async move {
            counted.up();
            held.pass().await;
            Ok::<_, std::convert::Infallible>(1_u32)
        };
        leader.get_or_load("key", load).await
    });
    idle().await;
    let second = tagged(&other);
    let counted = loads.clone();
    let second = tokio::spawn(async move { second.get_or_load("key", counted.loading(2_u32)).await });
    idle().await;
    gate.open();
    assert_eq!(*first.await.unwrap().unwrap(), 1);
    assert_eq!(*tokio::time::timeout(SEC, second).await.unwrap().unwrap().unwrap(), 1);
    assert_eq!(loads.get(), 2, "one for each key");
    let leases = remote
        .take_calls()
        .into_iter()
        .filter(|call| call.writes(EntryKind::Lease));
    assert!(leases.count() >= 2);
    let _: Arc<u32> = tagged(&one).get("key").await.unwrap().expect("it was stored");
}
