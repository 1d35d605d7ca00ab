//! Loads that do not wait for the loads of other processes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use cache_engine::{Cache, CacheBuilder};
use support::{Count, Gate, Log, Remote, SEC, TokioClock, idle, load, memory, over};
use tokio::task::JoinHandle;

fn spawn(cache: &Cache, gate: Option<&Gate>, loads: &Count, value: &'static str) -> JoinHandle<Arc<String>> {
    let answer = load(cache, gate, loads, Ok::<_, Infallible>(value));
    tokio::spawn(async move { answer.await.unwrap() })
}

fn caches(remote: &Remote) -> [Cache; 2] {
    let leading = over(remote).build();
    let beside = over(remote).build();
    [
        leading,
        beside.with_policy(beside.policy().with_coalesce_across_processes(false)),
    ]
}

#[tokio::test(start_paused = true)]
async fn the_first_to_end_stores_its_value_and_each_keeps_its_own() {
    for beside_first in [true, false] {
        let remote = Remote::new();
        let [leading, beside] = caches(&remote);
        let (loads, first, second) = (Count::new(), Gate::closed(), Gate::closed());
        let leader = spawn(&leading, Some(&first), &loads, "leader's");
        first.reached().await;
        let other = spawn(&beside, Some(&second), &loads, "other's");
        second.reached().await;
        let joiner = spawn(&beside, None, &loads, "never loaded");
        idle().await;
        assert_eq!(loads.get(), 2, "one in each process");
        let stored = if beside_first {
            second.open();
            assert_eq!(*other.await.unwrap(), "other's");
            first.open();
            assert_eq!(*leader.await.unwrap(), "leader's");
            "other's"
        } else {
            first.open();
            assert_eq!(*leader.await.unwrap(), "leader's");
            second.open();
            assert_eq!(*other.await.unwrap(), "other's");
            "leader's"
        };
        assert_eq!(*joiner.await.unwrap(), stored, "who joined is given what is stored");
        assert_eq!(*leading.get::<String>("key").await.unwrap().unwrap(), stored);
        assert!(remote.leases().await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_fences_all_of_them() {
    let remote = Remote::new();
    let [leading, beside] = caches(&remote);
    let (loads, first, second) = (Count::new(), Gate::closed(), Gate::closed());
    let leader = spawn(&leading, Some(&first), &loads, "old");
    first.reached().await;
    let other = spawn(&beside, Some(&second), &loads, "old too");
    second.reached().await;
    leading.invalidate("key").await.unwrap();
    first.open();
    second.open();
    leader.await.unwrap();
    other.await.unwrap();
    assert!(leading.get::<String>("key").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn so_it_is_with_many_keys_at_once() {
    let remote = Remote::new();
    let [leading, beside] = caches(&remote);
    let (loads, gate) = (Count::new(), Gate::closed());
    let leader = spawn(&leading, Some(&gate), &loads, "leader's");
    gate.reached().await;
    let load = |keys: Vec<&'static str>| async move {
        Ok::<_, Infallible>(keys.into_iter().map(|key| (key, "other's".to_owned())).collect())
    };
    let found = beside.get_or_load_many(["key"], load).await.unwrap();
    assert_eq!(*found["key"], "other's");
    gate.open();
    leader.await.unwrap();
    assert_eq!(*leading.get::<String>("key").await.unwrap().unwrap(), "other's");
}

/// A lease is the same one for as long as its holder renews it.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_renewed_fences_no_load_beside_it() {
    let (remote, objects) = (Remote::new(), memory(TokioClock::new()));
    renewed(|| over(&remote)).await;
    assert!(remote.leases().await.is_empty());
    renewed(|| Cache::builder(objects.clone()).clock(TokioClock::new())).await;
}

async fn renewed(make: impl Fn() -> CacheBuilder) {
    let leading = make().build();
    let log = Log::new();
    let beside = make().observer(log.clone()).build();
    let beside = beside.with_policy(beside.policy().with_coalesce_across_processes(false));
    let (loads, first, second) = (Count::new(), Gate::closed(), Gate::closed());
    let leader = spawn(&leading, Some(&first), &loads, "leader's");
    first.reached().await;
    let other = spawn(&beside, Some(&second), &loads, "other's");
    second.reached().await;
    let joiners: Vec<_> = (0..20).map(|_| spawn(&beside, None, &loads, "never loaded")).collect();
    tokio::time::sleep(600 * SEC).await;
    second.open();
    for caller in joiners.into_iter().chain([other]) {
        assert_eq!(*caller.await.unwrap(), "other's");
    }
    assert_eq!((loads.get(), log.count("stored"), log.count("fenced")), (2, 1, 0));
    first.open();
    assert_eq!(*leader.await.unwrap(), "leader's");
    assert_eq!(*leading.get::<String>("key").await.unwrap().unwrap(), "other's");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_written_after_an_invalidation_is_another() {
    for renewals in [0, 600] {
        let remote = Remote::new();
        let [leading, beside] = caches(&remote);
        let third = over(&remote).build();
        let (loads, gates) = (Count::new(), [(); 3].map(|()| Gate::closed()));
        let leader = spawn(&leading, Some(&gates[0]), &loads, "old");
        gates[0].reached().await;
        tokio::time::sleep(renewals * SEC).await;
        let other = spawn(&beside, Some(&gates[1]), &loads, "old too");
        gates[1].reached().await;
        tokio::time::sleep(renewals * SEC).await;
        leading.invalidate("key").await.unwrap();
        let newer = spawn(&third, Some(&gates[2]), &loads, "new");
        gates[2].reached().await;
        tokio::time::sleep(renewals * SEC).await;
        let joiner = spawn(&beside, None, &loads, "new too");
        idle().await;
        gates[0].open();
        gates[1].open();
        assert_eq!(
            (leader.await.unwrap().as_str(), other.await.unwrap().as_str()),
            ("old", "old too")
        );
        assert_eq!(*joiner.await.unwrap(), "new too");
        assert_eq!(*third.get::<String>("key").await.unwrap().unwrap(), "new too");
        gates[2].open();
        assert_eq!(*newer.await.unwrap(), "new");
        assert_eq!(*third.get::<String>("key").await.unwrap().unwrap(), "new too");
    }
}
