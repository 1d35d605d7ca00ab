//! Stale values: returned at once while one load refreshes them, and returned if that load fails.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Clock, ManualClock, Timestamp};
use cache_engine::{Cache, LoadError, Loaded};
use support::{Count, Gate, Log, MS, Remote, SEC, TokioClock, idle, local, memory, over};

/// A local cache, and one over a store that takes bytes only, whose clocks follow tokio's.
fn both(set: impl Fn(cache_engine::CacheBuilder) -> cache_engine::CacheBuilder) -> [Cache; 2] {
    let clock = TokioClock::new();
    [
        set(Cache::builder(memory(clock)).clock(clock)).build(),
        set(over(&Remote::new())).build(),
    ]
}

async fn get(cache: &Cache, key: &str) -> Option<String> {
    cache.get::<String>(key).await.unwrap().map(|value| value.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_answered_at_once_and_refreshed_once_in_the_background() {
    for cache in both(|builder| builder.ttl(SEC).stale_while_revalidate(10 * SEC)) {
        cache.set("key", "old".to_owned()).await.unwrap();
        tokio::time::advance(SEC).await;
        let (loads, gate) = (Count::new(), Gate::closed());
        for _ in 0..100 {
            let (loads, gate) = (loads.clone(), gate.clone());
            let load = || async move {
                loads.up();
                gate.pass().await;
                Ok::<_, Infallible>("new".to_owned())
            };
            assert_eq!(*cache.get_or_load("key", load).await.unwrap(), "old");
        }
        gate.reached().await;
        assert_eq!((loads.get(), cache.in_flight()), (1, 1));
        gate.open();
        idle().await;
        assert_eq!(
            *cache
                .get_or_load("key", loads.loading("newer".to_owned()))
                .await
                .unwrap(),
            "new"
        );
        assert_eq!((loads.get(), cache.in_flight()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_refreshes_and_starts_no_more() {
    for cache in both(|builder| builder.ttl(SEC).stale_while_revalidate(60 * SEC)) {
        cache.set("key", "old".to_owned()).await.unwrap();
        tokio::time::advance(SEC).await;
        let gate = Gate::closed();
        let load = |gate: Gate| {
            || async move {
                gate.pass().await;
                Ok::<_, Infallible>("new".to_owned())
            }
        };
        cache.get_or_load("key", load(gate.clone())).await.unwrap();
        gate.reached().await;
        let mut shutdown = tokio::spawn({
            let cache = cache.clone();
            async move { cache.shutdown().await }
        });
        idle().await;
        assert!(!shutdown.is_finished(), "the refresh is under way");
        gate.open();
        (&mut shutdown).await.unwrap();
        assert_eq!(get(&cache, "key").await.as_deref(), Some("new"));

        tokio::time::advance(2 * SEC).await;
        let loads = Count::new();
        assert_eq!(
            *cache.get_or_load("key", loads.loading(String::new())).await.unwrap(),
            "new"
        );
        idle().await;
        assert_eq!(loads.get(), 0, "nothing is refreshed any more");
        // But what is missing is loaded as ever.
        assert_eq!(
            *cache
                .get_or_load("other", loads.loading("there".to_owned()))
                .await
                .unwrap(),
            "there"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_borrowing_refresh_is_made_by_one_caller_and_the_others_are_answered_at_once() {
    for cache in both(|builder| builder.ttl(SEC).stale_while_revalidate(10 * SEC)) {
        cache.set("key", "old".to_owned()).await.unwrap();
        tokio::time::advance(SEC).await;
        let gate = Gate::closed();
        let refresher = tokio::spawn({
            let (cache, gate) = (cache.clone(), gate.clone());
            async move {
                let load = || async {
                    gate.pass().await;
                    Ok::<_, Infallible>("new".to_owned())
                };
                cache.borrowing().get_or_load("key", load).await.unwrap()
            }
        });
        gate.reached().await;
        let loads = Count::new();
        let other = cache.borrowing().get_or_load("key", loads.loading(String::new())).await;
        assert_eq!((other.unwrap().as_str(), loads.get()), ("old", 0));
        gate.open();
        assert_eq!(*refresher.await.unwrap(), "new", "who waited has the new value for it");
        assert_eq!(get(&cache, "key").await.as_deref(), Some("new"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_the_stale_value() {
    for cache in both(|builder| builder.ttl(SEC).stale_while_revalidate(10 * SEC).error_ttl(60 * SEC)) {
        cache.set("key", "old".to_owned()).await.unwrap();
        tokio::time::advance(SEC).await;
        for _ in 0..3 {
            let answer = cache.get_or_load("key", || async { Err::<String, _>("failed") }).await;
            assert_eq!(*answer.unwrap(), "old");
            idle().await;
        }
        assert_eq!(cache.in_flight(), 0);
        tokio::time::advance(10 * SEC).await;
        let answer = cache.get_or_load("key", || async { Err::<String, _>("failed") }).await;
        assert!(matches!(answer, Err(LoadError::Failed(_))), "the window has an end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_load_is_answered_with_the_stale_value_while_its_window_lasts() {
    for cache in both(|builder| builder.ttl(SEC).stale_if_error(10 * SEC).load_timeout(5 * SEC)) {
        cache.set("key", "old".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        let answer = cache.get_or_load("key", || async { Err::<String, _>("failed") }).await;
        assert_eq!(*answer.unwrap(), "old", "an error");
        let answer = cache
            .get_or_load("key", || async { panic!("as planned") as Result<String, &str> })
            .await;
        assert_eq!(*answer.unwrap(), "old", "a panic");
        let answer = cache
            .get_or_load("key", std::future::pending::<Result<String, &str>>)
            .await;
        assert_eq!(*answer.unwrap(), "old", "a timeout");
        // A new value takes its place at once.
        assert_eq!(
            *cache
                .get_or_load("key", Count::new().loading("new".to_owned()))
                .await
                .unwrap(),
            "new"
        );
        assert_eq!(get(&cache, "key").await.as_deref(), Some("new"));

        tokio::time::advance(11 * SEC).await;
        let answer = cache.get_or_load("key", || async { Err::<String, _>("failed") }).await;
        assert!(matches!(answer, Err(LoadError::Failed(_))), "its window has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_a_stale_value_waits_no_longer_than_the_soft_timeout() {
    for cache in both(|builder| builder.ttl(SEC).stale_if_error(60 * SEC).soft_timeout(100 * MS)) {
        cache.set("key", "old".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        let start = tokio::time::Instant::now();
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let load = || async {
                        tokio::time::sleep(SEC).await;
                        Ok::<_, Infallible>("new".to_owned())
                    };
                    cache.get_or_load("key", load).await.unwrap()
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(*caller.await.unwrap(), "old");
        }
        assert_eq!(start.elapsed(), 100 * MS);
        tokio::time::sleep(SEC).await;
        assert_eq!(get(&cache, "key").await.as_deref(), Some("new"), "the load went on");
        // Without a copy, a caller waits as long as it takes.
        let load = || async {
            tokio::time::sleep(SEC).await;
            Ok::<_, Infallible>("there".to_owned())
        };
        assert_eq!(*cache.get_or_load("missing", load).await.unwrap(), "there");
    }
}

/// A load of `value` that outlasts the soft timeout.
async fn slow(value: &'static str) -> Result<String, Infallible> {
    tokio::time::sleep(SEC).await;
    Ok(value.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_answer_with_what_it_is_to_replace_however_long_it_takes() {
    for (ttl, window) in [(60 * SEC, Duration::ZERO), (SEC, 60 * SEC)] {
        let policy = |builder: cache_engine::CacheBuilder| {
            let builder = builder.ttl(ttl).stale_while_revalidate(window);
            builder.stale_if_error(60 * SEC).soft_timeout(100 * MS)
        };
        for cache in both(policy) {
            cache.set("key", "old".to_owned()).await.unwrap();
            tokio::time::advance(2 * SEC).await;
            assert_eq!(*cache.refresh("key", || slow("new")).await.unwrap(), "new");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_window_ends_while_a_caller_waits_is_not_answered() {
    for cache in both(|builder| builder.ttl(SEC).stale_if_error(50 * MS).soft_timeout(100 * MS)) {
        cache.set("key", "old".to_owned()).await.unwrap();
        tokio::time::advance(SEC + 10 * MS).await;
        assert_eq!(*cache.get_or_load("key", || slow("new")).await.unwrap(), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loader_sees_the_value_it_replaces_and_can_say_that_it_is_still_good() {
    for cache in both(|builder| builder.ttl(SEC).stale_if_error(60 * SEC)) {
        cache.set("key", "value".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        assert_eq!(get(&cache, "key").await, None);
        let load = |load: cache_engine::Load<String>| async move {
            assert_eq!(load.key().name(), "key");
            let stale = load.stale().unwrap();
            assert_eq!(**stale.value(), "value");
            Ok::<_, Infallible>(stale.not_modified())
        };
        assert_eq!(*cache.get_or_load_with("key", load).await.unwrap().unwrap(), "value");
        assert_eq!(get(&cache, "key").await.as_deref(), Some("value"), "it is fresh again");
        tokio::time::advance(999 * MS).await;
        assert_eq!(get(&cache, "key").await.as_deref(), Some("value"));
        tokio::time::advance(MS).await;
        assert_eq!(get(&cache, "key").await, None);
        // There is nothing to see where there was nothing.
        let load = |load: cache_engine::Load<String>| async move {
            assert!(load.stale().is_none());
            Ok::<_, Infallible>(Loaded::new("first".to_owned()))
        };
        cache.get_or_load_with("missing", load).await.unwrap();
    }
}

#[tokio::test]
async fn a_value_that_is_not_modified_stays_the_same_object() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(SEC).stale_if_error(60 * SEC).build();
    cache.set("key", "value".to_owned()).await.unwrap();
    let before = cache.get::<String>("key").await.unwrap().unwrap();
    clock.advance(2 * SEC);
    let load =
        |load: cache_engine::Load<String>| async move { Ok::<_, Infallible>(load.stale().unwrap().not_modified()) };
    let after = cache.get_or_load_with("key", load).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&before, &after));
}

#[tokio::test(start_paused = true)]
async fn a_loader_sets_the_windows_of_its_value() {
    for cache in both(|builder| builder.ttl(SEC)) {
        let load = |_| async {
            let loaded = Loaded::new("value".to_owned())
                .with_ttl(5 * SEC)
                .with_stale_while_revalidate(5 * SEC)
                .with_stale_if_error(20 * SEC);
            Ok::<_, &str>(loaded)
        };
        cache.get_or_load_with("key", load).await.unwrap();
        tokio::time::advance(4999 * MS).await;
        assert_eq!(get(&cache, "key").await.as_deref(), Some("value"));
        tokio::time::advance(MS).await;
        assert_eq!(get(&cache, "key").await, None, "no longer fresh");
        let loads = Count::new();
        let stale = cache.get_or_load("key", {
            let loads = loads.clone();
            move || async move {
                loads.up();
                Err::<String, _>("failed")
            }
        });
        assert_eq!(*stale.await.unwrap(), "value", "answered at once");
        idle().await;
        assert_eq!(loads.get(), 1, "and refreshed");
        tokio::time::advance(19 * SEC).await;
        let answer = cache.get_or_load("key", || async { Err::<String, _>("failed") }).await;
        assert_eq!(*answer.unwrap(), "value", "answered if the load fails");
        tokio::time::advance(SEC).await;
        let answer = cache.get_or_load("key", || async { Err::<String, _>("failed") }).await;
        assert!(matches!(answer, Err(LoadError::Failed(_))));

        let load = |_| async { Ok::<_, &str>(Loaded::new("for ever".to_owned()).with_ttl(None)) };
        cache.get_or_load_with("other", load).await.unwrap();
        tokio::time::advance(Duration::from_secs(1_000_000)).await;
        assert_eq!(get(&cache, "other").await.as_deref(), Some("for ever"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_to_be_stored_is_shared_with_those_who_wait() {
    for cache in both(|builder| builder) {
        let (gate, loads) = (Gate::closed(), Count::new());
        let call = || {
            let (cache, gate, loads) = (cache.clone(), gate.clone(), loads.clone());
            tokio::spawn(async move {
                let load = |_| async move {
                    let number = loads.up();
                    gate.pass().await;
                    Ok::<_, Infallible>(Loaded::new(number).do_not_store())
                };
                cache.get_or_load_with("key", load).await.unwrap().unwrap()
            })
        };
        let callers = [call(), call(), call()];
        gate.reached().await;
        idle().await;
        gate.open();
        for caller in callers {
            assert_eq!(*caller.await.unwrap(), 1);
        }
        assert!(cache.get::<usize>("key").await.unwrap().is_none());
        assert_eq!(*call().await.unwrap(), 2);
        assert_eq!(cache.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_never_fresh_is_not_stored() {
    for cache in both(|builder| builder.ttl(Duration::ZERO)) {
        let log = Count::new();
        for number in 1..4 {
            cache.get_or_load("key", log.loading(1)).await.unwrap();
            assert_eq!(log.get(), number);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_replaces_what_is_fresh_and_others_have_the_old_value_meanwhile() {
    for cache in both(|builder| builder.ttl(60 * SEC)) {
        cache.set("key", "old".to_owned()).await.unwrap();
        let (gate, loads) = (Gate::closed(), Count::new());
        let refresh = || {
            let (cache, gate, loads) = (cache.clone(), gate.clone(), loads.clone());
            tokio::spawn(async move {
                let load = || async move {
                    gate.pass().await;
                    Ok::<_, Infallible>(format!("new {}", loads.up()))
                };
                cache.refresh("key", load).await.unwrap()
            })
        };
        let (first, second) = (refresh(), refresh());
        gate.reached().await;
        idle().await;
        assert_eq!(
            *cache.get_or_load("key", loads.loading(String::new())).await.unwrap(),
            "old"
        );
        gate.open();
        assert_eq!(*first.await.unwrap(), "new 1");
        assert_eq!(*second.await.unwrap(), "new 1", "two refreshes share a load");
        assert_eq!(get(&cache, "key").await.as_deref(), Some("new 1"));
        // Where there is nothing, it loads.
        assert_eq!(
            *cache
                .refresh("missing", loads.loading("there".to_owned()))
                .await
                .unwrap(),
            "there"
        );
        assert_eq!(get(&cache, "missing").await.as_deref(), Some("there"));
        assert_eq!(cache.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_make_one_refresh() {
    let remote = Remote::new();
    let log = Log::new();
    let make = || {
        over(&remote)
            .observer(log.clone())
            .ttl(SEC)
            .stale_while_revalidate(60 * SEC)
            .build()
    };
    let caches = [make(), make(), make()];
    caches[0].set("key", "old".to_owned()).await.unwrap();
    tokio::time::advance(2 * SEC).await;
    let (gate, loads) = (Gate::closed(), Count::new());
    for _ in 0..3 {
        for cache in &caches {
            let (gate, loads) = (gate.clone(), loads.clone());
            let load = || async move {
                loads.up();
                gate.pass().await;
                Ok::<_, Infallible>("new".to_owned())
            };
            assert_eq!(*cache.get_or_load("key", load).await.unwrap(), "old");
            idle().await;
        }
    }
    assert_eq!(loads.get(), 1);
    gate.open();
    idle().await;
    assert_eq!(get(&caches[2], "key").await.as_deref(), Some("new"));
    assert_eq!(log.count("loaded"), 1);
    assert_eq!(remote.leases().await, Vec::<String>::new());
}

/// The clock of a machine may be set back. What a store in this process counts by a monotonic clock is older than the
/// clock says.
#[tokio::test]
async fn a_step_back_of_the_clock_makes_no_stale_value_fresh_again() {
    let hour = 3_600 * SEC;
    for tagged in [false, true] {
        for encoded in [false, true] {
            let clock = ManualClock::new();
            let builder = match encoded {
                true => Cache::builder(Remote::over(memory(clock.clone()))).clock(clock.clone()),
                false => local(&clock),
            };
            let tags: &[&str] = if tagged { &["tag"] } else { &[] };
            let cache = builder.ttl(60 * SEC).stale_if_error(hour).build().with_tags(tags);
            cache.set("key", "old".to_owned()).await.unwrap();
            let end = clock.now() + 60 * SEC;
            clock.set(Timestamp::from_millis(clock.now().as_millis() - 3_600_000));
            assert_eq!(
                get(&cache, "key").await.as_deref(),
                Some("old"),
                "the step itself is no time"
            );
            clock.advance(59 * SEC);
            assert_eq!(get(&cache, "key").await.as_deref(), Some("old"));
            clock.advance(SEC + 3 * MS);
            assert!(clock.now() < end, "by the clock alone, it would be fresh");
            assert_eq!(get(&cache, "key").await, None, "tagged: {tagged}, encoded: {encoded}");
            // Its other window ends in time, too.
            let load = || async { Err::<String, _>("down") };
            assert_eq!(*cache.borrowing().get_or_load("key", load).await.unwrap(), "old");
            clock.advance(hour);
            assert!(cache.borrowing().get_or_load("key", load).await.is_err());
        }
    }
}
