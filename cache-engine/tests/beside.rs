//! Loads that do not wait for those of other processes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use cache_engine::Cache;
use support::{Count, Gate, Remote, over, settle};
use tokio::task::JoinHandle;

fn spawn(cache: &Cache, gate: Option<&Gate>, loads: &Count, value: &'static str) -> JoinHandle<Arc<String>> {
    let (cache, gate, loads) = (cache.clone(), gate.cloned(), loads.clone());
    tokio::spawn(async move {
        let load = move || async move {
            loads.up();
            if let Some(gate) = gate {
                gate.pass().await;
            }
            Ok::<_, Infallible>(value.to_owned())
        };
        cache.get_or_load("key", load).await.unwrap()
    })
}

fn caches(remote: &Remote) -> [Cache; 2] {
    let leading = over(remote).build();
    let beside = over(remote).build();
    [leading, beside.with_policy(beside.policy().with_cluster_wait(false))]
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
        settle().await;
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
