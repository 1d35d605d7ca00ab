//! A preview that a load offers before its end goes to the waiting callers, and not to callers that come after an
//! invalidation.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::{ErrorKind, FreshnessWindows};
use cache_engine::{Cache, Lookup};
use support::{Fate, Gate, Remote, SEC, idle, over};
use tokio::task::JoinHandle;

const LEASE: Duration = SEC;

/// Two processes on one store.
fn two(remote: &Remote) -> [Cache; 2] {
    let build = || {
        let tags = ["tag"];
        over(remote).lease_time(LEASE).build().with_tags(tags)
    };
    [build(), build()]
}

/// Loads "key", and offers a preview until `gate` opens.
fn load(cache: &Cache, gate: &Gate) -> JoinHandle<bool> {
    let (cache, gate) = (cache.clone(), gate.clone());
    tokio::spawn(async move {
        let Lookup::Miss(mut fill) = cache.adapter().lookup_anew::<u32>(&cache.key("key")).await else {
            panic!("nobody else loads")
        };
        fill.renewing_with_preview(Arc::new("preview"), gate.pass()).await;
        let windows = FreshnessWindows::new(SEC).with_stale_if_error(3600 * SEC);
        let outcome = fill.store(Arc::new(1), cache.adapter().coder(), windows).await;
        outcome.is_stored()
    })
}

#[derive(Debug, PartialEq)]
enum Got {
    Preview,
    Value,
    Lead,
}

fn look_up(cache: &Cache, accepts: bool) -> JoinHandle<Got> {
    let cache = cache.clone();
    tokio::spawn(async move {
        let adapter = cache.adapter().accept_previews(accepts);
        match adapter.lookup::<u32>(&cache.key("key")).await {
            Lookup::Preview { value, .. } => {
                assert_eq!(value.downcast_ref(), Some(&"preview"));
                Got::Preview
            }
            Lookup::Hit { .. } => Got::Value,
            Lookup::Miss(_) => Got::Lead,
            other => panic!("{other:?}"),
        }
    })
}

/// What the caller has, if it does not wait.
async fn now(cache: &Cache) -> Option<Got> {
    let looking = look_up(cache, true);
    idle().await;
    if !looking.is_finished() {
        looking.abort();
        return None;
    }
    Some(looking.await.unwrap())
}

/// Leaves a copy behind that is past its freshness, so that the next load has its lease beside it.
async fn leave_stale(cache: &Cache) {
    let gate = Gate::closed();
    let loading = load(cache, &gate);
    gate.open();
    assert!(loading.await.unwrap());
    tokio::time::sleep(2 * SEC).await;
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_and_those_who_come_get_it_and_others_wait() {
    for stale in [false, true] {
        let remote = Remote::new();
        let [here, there] = two(&remote);
        if stale {
            leave_stale(&here).await;
        }
        let gate = Gate::closed();
        let loading = load(&here, &gate);
        idle().await;
        assert_eq!(now(&here).await, Some(Got::Preview));
        let waiting = look_up(&here, false);
        // The lease is renewed a few times.
        tokio::time::sleep(5 * LEASE).await;
        assert_eq!(now(&here).await, Some(Got::Preview));
        assert_eq!(now(&there).await, None, "another process waits for the value");
        assert!(!waiting.is_finished());
        gate.open();
        assert!(loading.await.unwrap());
        assert_eq!(waiting.await.unwrap(), Got::Value);
        assert_eq!(now(&here).await, Some(Got::Value));
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_is_asked_once_for_all_who_wait() {
    let remote = Remote::new();
    let [here, _] = two(&remote);
    let Lookup::Miss(mut fill) = here.adapter().lookup::<u32>(&here.key("key")).await else {
        panic!("nobody else loads")
    };
    let waiting: Vec<_> = (0..20).map(|_| look_up(&here, true)).collect();
    idle().await;
    remote.take_calls();
    let gate = Gate::closed();
    let opened = gate.clone();
    let offering = tokio::spawn(async move { fill.renewing_with_preview(Arc::new("preview"), opened.pass()).await });
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Got::Preview);
    }
    let calls = remote.take_calls();
    assert!(calls.len() <= 2, "for the lease and for the tag: {calls:?}");
    gate.open();
    offering.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_it_after_an_invalidation() {
    for stale in [false, true] {
        for elsewhere in [false, true] {
            for by_tag in [false, true] {
                let remote = Remote::new();
                let [here, there] = two(&remote);
                if stale {
                    leave_stale(&here).await;
                }
                let gate = Gate::closed();
                let loading = load(&here, &gate);
                idle().await;
                assert_eq!(now(&here).await, Some(Got::Preview));
                let cache = if elsewhere { &there } else { &here };
                if by_tag {
                    cache.invalidate_tag("tag").await.unwrap();
                } else {
                    cache.invalidate("key").await.unwrap();
                }
                let got = now(&here).await;
                let case = format!("stale {stale}, elsewhere {elsewhere}, by tag {by_tag}");
                assert_ne!(got, Some(Got::Preview), "{case}");
                gate.open();
                loading.await.unwrap();
                assert_eq!(now(&here).await, Some(Got::Lead), "{case}");
            }
        }
    }
}

/// Nor do those who came between the beginning of the load and the preview, after an invalidation elsewhere.
#[tokio::test(start_paused = true)]
async fn what_was_invalidated_before_it_is_offered_is_offered_to_nobody() {
    let remote = Remote::new();
    let [here, there] = two(&remote);
    let Lookup::Miss(mut fill) = here.adapter().lookup::<u32>(&here.key("key")).await else {
        panic!("nobody else loads")
    };
    there.invalidate("key").await.unwrap();
    let waiting = look_up(&here, true);
    idle().await;
    assert!(!waiting.is_finished());
    let gate = Gate::closed();
    let offering = {
        let gate = gate.clone();
        tokio::spawn(async move { fill.renewing_with_preview(Arc::new("preview"), gate.pass()).await })
    };
    idle().await;
    assert_eq!(waiting.await.unwrap(), Got::Lead, "it loads anew, at once");
    gate.open();
    offering.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_gone_with_its_load() {
    let remote = Remote::new();
    let [here, _] = two(&remote);
    let loading = load(&here, &Gate::closed());
    idle().await;
    assert_eq!(now(&here).await, Some(Got::Preview));
    let waiting = look_up(&here, false);
    idle().await;
    loading.abort();
    assert_eq!(waiting.await.unwrap(), Got::Lead);
    assert_eq!(now(&here).await, Some(Got::Lead));
}

#[tokio::test(start_paused = true)]
async fn without_a_store_it_is_offered_to_those_who_have_none_either() {
    let remote = Remote::new();
    let [here, _] = two(&remote);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    let gate = Gate::closed();
    let loading = load(&here, &gate);
    idle().await;
    assert_eq!(now(&here).await, Some(Got::Preview));
    gate.open();
    assert!(!loading.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn after_the_end_of_a_late_tag_nobody_waits_for_the_old_load() {
    for is_stale_there in [false, true] {
        let remote = Remote::new();
        let build = || {
            let cache: Cache = over(&remote).lease_time(LEASE).build();
            cache.adapter().with_late_tags(true)
        };
        let (here, there) = (build(), build());
        if is_stale_there {
            leave_stale(&here).await;
        }
        for accepts in [false, true] {
            let gate = Gate::closed();
            let (cache, opens) = (here.clone(), gate.clone());
            let loading = tokio::spawn(async move {
                let Lookup::Miss(mut fill) = cache.adapter().lookup_anew::<u32>(&cache.key("key")).await else {
                    panic!("nobody else loads")
                };
                fill.add_late_tags(["late"]).await;
                fill.renewing_with_preview(Arc::new("preview"), opens.pass()).await;
                let outcome = fill
                    .store(Arc::new(1), cache.adapter().coder(), FreshnessWindows::new(SEC))
                    .await;
                outcome.is_stored()
            });
            idle().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            there.invalidate_tag("late").await.unwrap();
            for cache in [&here, &there] {
                let looking = look_up(cache, accepts);
                idle().await;
                if is_stale_there && !accepts {
                    // Its own process finds out about a lease beside a record at the next renewal.
                    tokio::time::sleep(LEASE).await;
                }
                assert!(looking.is_finished(), "{is_stale_there} {accepts}");
                assert_eq!(looking.await.unwrap(), Got::Lead);
                // The fill was dropped, and its lease is released in the background.
                idle().await;
            }
            gate.open();
            // Beside a stale record it may still be stored, but its tag has ended.
            let stored = loading.await.unwrap();
            assert!(!stored || is_stale_there);
            for cache in [&here, &there] {
                assert_eq!(
                    cache.get::<u32>("key").await.unwrap(),
                    None,
                    "{is_stale_there} {accepts}"
                );
            }
        }
    }
}
