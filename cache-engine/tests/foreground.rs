//! Waiting for what runs in the background, and doing it in the foreground.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;

use cache_engine::cache_core::ErrorKind;
use cache_engine::{Background, Cache, LoadError};
use support::{Count, Fate, Gate, MS, Remote, SEC, TokioClock, load, local, over};

fn stale(foreground: bool) -> Cache {
    local(&TokioClock::new())
        .ttl(SEC)
        .stale_while_revalidate(60 * SEC)
        .foreground(foreground)
        .build()
}

#[tokio::test(start_paused = true)]
async fn settled_waits_for_a_refresh_and_leaves_the_cache_open() {
    let cache = stale(false);
    cache.set("key", "old".to_owned()).await.unwrap();
    tokio::time::sleep(2 * SEC).await;
    let (gate, loads) = (Gate::closed(), Count::new());
    let found = load::<Infallible>(&cache, Some(&gate), &loads, Ok("new"))
        .await
        .unwrap();
    assert_eq!(*found, "old");
    gate.reached().await;
    let mut settled = std::pin::pin!(cache.settled());
    assert!(tokio::time::timeout(10 * SEC, &mut settled).await.is_err());
    gate.open();
    settled.await;
    let found = load::<Infallible>(&cache, None, &loads, Ok("newer")).await.unwrap();
    assert_eq!((found.as_str(), loads.get()), ("new", 1));
    // Unlike after a shutdown, it refreshes again.
    tokio::time::sleep(2 * SEC).await;
    load::<Infallible>(&cache, None, &loads, Ok("newer")).await.unwrap();
    cache.settled().await;
    assert_eq!(loads.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn settled_tries_to_carry_out_what_is_pending() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    remote.once(Fate::Fail(ErrorKind::Unavailable), |call| call.is("delete"));
    cache.invalidate("key").await.unwrap_err();
    assert_eq!(cache.pending_invalidations(), 1);
    cache.settled().await;
    assert_eq!(cache.pending_invalidations(), 0);
    // It waits no longer than for one attempt.
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    cache.invalidate("key").await.unwrap_err();
    cache.settled().await;
    assert_eq!(cache.pending_invalidations(), 1);
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_the_caller_gets_the_new_value() {
    for (foreground, expected) in [(false, "old"), (true, "new")] {
        let cache = stale(foreground);
        cache.set("key", "old".to_owned()).await.unwrap();
        tokio::time::sleep(2 * SEC).await;
        let loads = Count::new();
        let found = load::<Infallible>(&cache, None, &loads, Ok("new")).await.unwrap();
        assert_eq!(*found, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_a_refresh_that_fails_costs_the_caller_nothing() {
    let cache = stale(true);
    cache.set("key", "old".to_owned()).await.unwrap();
    tokio::time::sleep(2 * SEC).await;
    let loads = Count::new();
    let found = load(&cache, None, &loads, Err("down")).await.unwrap();
    assert_eq!((found.as_str(), loads.get()), ("old", 1));
    // Nor does one that hangs, with a soft timeout.
    let hasty = cache.policy_with(|policy| policy.with_soft_timeout(100 * MS));
    let gate = Gate::closed();
    let found = load::<Infallible>(&hasty, Some(&gate), &loads, Ok("new"))
        .await
        .unwrap();
    assert_eq!((found.as_str(), loads.get()), ("old", 2));
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_a_batch_gets_the_new_values() {
    for (foreground, expected) in [(false, "old"), (true, "new 1")] {
        let cache = stale(foreground);
        cache.set("1", "old".to_owned()).await.unwrap();
        tokio::time::sleep(2 * SEC).await;
        let load = |ids: Vec<i32>| async move {
            let values = ids.into_iter().map(|id| (id, format!("new {id}")));
            Ok::<_, Infallible>(values.collect::<HashMap<_, _>>())
        };
        let found = cache.get_or_load_many([1], load).await.unwrap();
        assert_eq!(*found[&1], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_about_what_its_work_has_started_in_any_depth() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    let (gate, other, loads) = (Gate::closed(), Gate::closed(), Count::new());
    // Somebody else's load is none of its business.
    let others = tokio::spawn(load::<Infallible>(
        &cache.with_namespace("other"),
        Some(&other),
        &loads,
        Ok("other"),
    ));
    other.reached().await;
    let background = Background::new();
    assert!(background.is_idle());
    // The load fails, and its lease is released by a task that the load's own task has started.
    let delete = Gate::closed();
    remote.once(Fate::Hold(delete.clone()), |call| call.is("delete_if"));
    let failed = background.scope(load(&cache, None, &loads, Err("down"))).await;
    assert!(matches!(failed, Err(LoadError::Failed(_))));
    if !background.is_idle() {
        delete.reached().await;
        assert!(tokio::time::timeout(60 * MS, background.settled()).await.is_err());
    }
    delete.open();
    background.settled().await;
    assert!(background.is_idle());
    gate.open();
    other.open();
    others.await.unwrap().unwrap();
}
