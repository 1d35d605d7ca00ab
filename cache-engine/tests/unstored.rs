//! Values that could not be stored, and stale copies without a fence: which callers may get them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use cache_core::{EntryKind, ErrorKind, FreshnessWindows};
use cache_engine::{Cache, LoadError, Lookup, StoreOutcome};
use support::{Count, Fate, Gate, Remote, SEC, idle, load, over};
use tokio::task::JoinHandle;

type Answer = Result<Arc<String>, LoadError<&'static str>>;

/// One process, and another one.
fn two(remote: &Remote) -> [Cache; 2] {
    [(); 2].map(|()| over(remote).ttl(SEC).stale_if_error(60 * SEC).build())
}

fn spawn(
    cache: &Cache,
    gate: Option<&Gate>,
    loads: &Count,
    result: Result<&'static str, &'static str>,
) -> JoinHandle<Answer> {
    tokio::spawn(load(cache, gate, loads, result))
}

/// A cache with a stale copy, in a store that is about to refuse every lease, once `gate` is open.
async fn stale(remote: &Remote, gate: &Gate, kind: ErrorKind) -> [Cache; 2] {
    let caches = two(remote);
    caches[0].set("key", "old".to_owned()).await.unwrap();
    tokio::time::advance(2 * SEC).await;
    let gate = gate.clone();
    remote.plan(move |call| {
        if call.writes(EntryKind::Lease) {
            Fate::HoldAndFail(gate.clone(), kind)
        } else {
            Fate::Pass
        }
    });
    caches
}

#[tokio::test(start_paused = true)]
async fn a_stale_copy_without_a_lease_is_not_for_who_came_after_its_invalidation() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Rejected] {
        let (remote, gate, loads) = (Remote::new(), Gate::closed(), Count::new());
        let [here, there] = stale(&remote, &gate, kind).await;
        let starter = spawn(&here, None, &loads, Err("down"));
        gate.reached().await;
        there.invalidate("key").await.unwrap();
        let joiner = spawn(&here, None, &loads, Ok("new"));
        idle().await;
        assert_eq!(loads.get(), 0, "it has joined");
        gate.open();
        // The starter looked before the invalidation.
        drop(starter.await.unwrap());
        match joiner.await.unwrap() {
            Ok(value) => assert_eq!(*value, "new", "{kind:?}"),
            // The copy is known to be gone, and so the failure is shared, which is as old for everybody.
            Err(error) => assert_eq!(
                (error.loader_error().map(|error| **error), kind),
                (Some("down"), ErrorKind::Rejected)
            ),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_is_there_it_is_for_all_who_wait() {
    let (remote, gate, loads) = (Remote::new(), Gate::closed(), Count::new());
    gate.open();
    let [here, _] = stale(&remote, &gate, ErrorKind::Rejected).await;
    let loading = Gate::closed();
    let starter = spawn(&here, Some(&loading), &loads, Err("down"));
    loading.reached().await;
    let joiners: Vec<_> = (0..20).map(|_| spawn(&here, None, &loads, Err("down"))).collect();
    idle().await;
    loading.open();
    for caller in joiners.into_iter().chain([starter]) {
        assert_eq!(*caller.await.unwrap().unwrap(), "old");
    }
    assert_eq!(loads.get(), 1);
}

/// A store whose values have a limit that nobody was told of.
fn small() -> Remote {
    let remote = Remote::new();
    remote.plan(|call| {
        if call.writes(EntryKind::Value) {
            Fate::Fail(ErrorKind::TooLarge)
        } else {
            Fate::Pass
        }
    });
    remote
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_too_large_is_not_for_who_came_after_an_invalidation() {
    let (remote, gate, loads) = (small(), Gate::closed(), Count::new());
    let [here, there] = two(&remote);
    let starter = spawn(&here, Some(&gate), &loads, Ok("old"));
    gate.reached().await;
    there.invalidate("key").await.unwrap();
    let joiner = spawn(&here, None, &loads, Ok("new"));
    idle().await;
    assert_eq!(loads.get(), 1, "it has joined");
    gate.open();
    assert_eq!(*starter.await.unwrap().unwrap(), "old");
    assert_eq!(*joiner.await.unwrap().unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn otherwise_it_is_shared_and_its_lease_is_gone() {
    let (remote, gate, loads) = (small(), Gate::closed(), Count::new());
    let [here, there] = two(&remote);
    let starter = spawn(&here, Some(&gate), &loads, Ok("large"));
    gate.reached().await;
    let joiners: Vec<_> = (0..20).map(|_| spawn(&here, None, &loads, Ok("never"))).collect();
    idle().await;
    gate.open();
    for caller in joiners.into_iter().chain([starter]) {
        assert_eq!(*caller.await.unwrap().unwrap(), "large");
    }
    assert_eq!(loads.get(), 1);
    assert_eq!(remote.leases().await, Vec::<String>::new());
    assert_eq!(*spawn(&there, None, &loads, Ok("next")).await.unwrap().unwrap(), "next");
}

/// What was made from a stale copy is as old as that.
#[tokio::test(start_paused = true)]
async fn neither_is_a_value_that_was_made_from_a_stale_copy() {
    let (remote, gate) = (Remote::new(), Gate::closed());
    let [here, there] = stale(&remote, &gate, ErrorKind::Unavailable).await;
    let changing = tokio::spawn({
        let cache = here.clone();
        async move {
            let Lookup::Miss(mut fill) = cache.adapter().lookup_anew::<String>(&cache.key("key")).await else {
                panic!("it is to be loaded anew");
            };
            fill.depend_as_stale();
            let changed = Arc::new(format!("{}, changed", fill.stale().unwrap().value));
            fill.store(changed, cache.adapter().coder(), FreshnessWindows::new(SEC))
                .await
        }
    });
    gate.reached().await;
    there.invalidate("key").await.unwrap();
    let joiner = tokio::spawn({
        let cache = here.clone();
        async move { cache.get_or_load("key", Count::new().loading("new".to_owned())).await }
    });
    idle().await;
    gate.open();
    assert!(matches!(changing.await.unwrap(), StoreOutcome::Unavailable));
    assert_eq!(*joiner.await.unwrap().unwrap(), "new");
}
