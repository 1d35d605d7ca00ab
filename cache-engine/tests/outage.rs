//! A store that fails, hangs or recovers: it never makes a load fail that would succeed without it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use cache_core::ErrorKind;
use cache_engine::Cache;
use support::{Count, Fate, Gate, Log, MS, Remote, SEC, idle, over};
use tokio::time::Instant;

const TIMEOUT: Duration = Duration::from_millis(500);

fn cache(remote: &Remote, log: &Log) -> Cache {
    over(remote).observer(log.clone()).backend_timeout(TIMEOUT).build()
}

/// Loads under `key`, and tells how long that took.
async fn timed(cache: &Cache, key: &str, loads: &Count) -> Duration {
    let start = Instant::now();
    assert_eq!(*cache.get_or_load(key, loads.loading(7)).await.unwrap(), 7);
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_dead_store_fails_no_call_and_costs_nothing() {
    let (remote, log, loads) = (Remote::new(), Log::new(), Count::new());
    let cache = cache(&remote, &log);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    for number in 1..=20 {
        assert_eq!(timed(&cache, "key", &loads).await, Duration::ZERO);
        assert_eq!(loads.get(), number);
    }
    assert_eq!(remote.take_calls().len(), 3, "then it is left alone");
    assert_eq!(cache.in_flight(), 0);
    assert_eq!((log.count("store_failed"), log.count("breaker_opened")), (3, 1));
    // An outage is not a miss.
    assert_eq!((log.count("outage"), log.count("miss")), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_store_costs_each_caller_one_timeout_and_then_nothing() {
    let (remote, log, loads) = (Remote::new(), Log::new(), Count::new());
    let cache = cache(&remote, &log);
    remote.always(Fate::Freeze);
    let callers: Vec<_> = (0..50)
        .map(|number| {
            let (cache, loads) = (cache.clone(), loads.clone());
            tokio::spawn(async move { timed(&cache, &format!("key {number}"), &loads).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap() <= TIMEOUT);
    }
    assert_eq!(log.count("breaker_opened"), 1);
    for _ in 0..20 {
        assert_eq!(timed(&cache, "key", &loads).await, Duration::ZERO);
    }
    // One caller at a time finds out whether it is back.
    tokio::time::advance(SEC).await;
    let prober = tokio::spawn({
        let (cache, loads) = (cache.clone(), loads.clone());
        async move { timed(&cache, "key", &loads).await }
    });
    idle().await;
    assert_eq!(timed(&cache, "other", &loads).await, Duration::ZERO);
    assert!(prober.await.unwrap() <= TIMEOUT);
    assert_eq!(cache.in_flight(), 0);
}

/// Wherever it freezes, no caller waits for it more than once.
#[tokio::test(start_paused = true)]
async fn a_store_that_freezes_during_a_load_costs_one_timeout() {
    for after in 0..6 {
        for stale in [false, true] {
            let (remote, log, loads) = (Remote::new(), Log::new(), Count::new());
            let cache =
                cache(&remote, &log).with_policy(cache_engine::Policy::new(SEC).with_stale_if_error(if stale {
                    60 * SEC
                } else {
                    Duration::ZERO
                }));
            cache.set("key", 1).await.unwrap();
            tokio::time::advance(2 * SEC).await;
            let mut calls = 0;
            remote.plan(move |_| {
                calls += 1;
                if calls > after { Fate::Freeze } else { Fate::Pass }
            });
            let took = timed(&cache, "key", &loads).await;
            assert!(took <= TIMEOUT, "frozen after {after} calls: {took:?}");
            assert_eq!(loads.get(), 1);
            tokio::time::sleep(5 * SEC).await;
            assert_eq!(cache.in_flight(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_is_used_again_within_two_seconds() {
    for fate in [Fate::Fail(ErrorKind::Unavailable), Fate::Freeze] {
        for offset in [0, 250, 500, 750, 999] {
            let (remote, log, loads) = (Remote::new(), Log::new(), Count::new());
            let cache = cache(&remote, &log);
            cache.set("key", 7).await.unwrap();
            remote.always(fate.clone());
            // Requests come in all the time.
            let requests = tokio::spawn({
                let (cache, loads) = (cache.clone(), loads.clone());
                async move {
                    loop {
                        let (cache, loads) = (cache.clone(), loads.clone());
                        tokio::spawn(async move { timed(&cache, "key", &loads).await });
                        tokio::time::sleep(50 * MS).await;
                    }
                }
            });
            tokio::time::sleep(5 * SEC + MS * offset).await;
            assert!(loads.get() > 50);
            remote.always(Fate::Pass);
            tokio::time::sleep(2 * SEC).await;
            let before = loads.get();
            tokio::time::sleep(SEC).await;
            assert_eq!(loads.get(), before, "all requests hit again");
            assert_eq!((log.count("breaker_opened"), log.count("breaker_closed")), (1, 1));
            requests.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn callers_share_one_load_in_an_outage_too() {
    for fate in [Fate::Fail(ErrorKind::Unavailable), Fate::Freeze] {
        let (remote, loads, gate) = (Remote::new(), Count::new(), Gate::closed());
        let cache = cache(&remote, &Log::new());
        remote.always(fate);
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let (cache, loads, gate) = (cache.clone(), loads.clone(), gate.clone());
                tokio::spawn(async move {
                    let load = || async move {
                        loads.up();
                        gate.pass().await;
                        Ok::<_, Infallible>("value".to_owned())
                    };
                    cache.get_or_load("key", load).await.unwrap()
                })
            })
            .collect();
        gate.reached().await;
        idle().await;
        gate.open();
        for caller in callers {
            assert_eq!(*caller.await.unwrap(), "value");
        }
        assert_eq!(loads.get(), 1);
        assert_eq!(cache.in_flight(), 0);
    }
}

/// A store that reads but takes no writes, since it is full, say.
#[tokio::test(start_paused = true)]
async fn callers_share_loads_over_a_store_that_takes_nothing() {
    let (remote, loads) = (Remote::new(), Count::new());
    let cache = cache(&remote, &Log::new());
    remote.plan(|call| {
        if call.is("set") {
            Fate::Fail(ErrorKind::Rejected)
        } else {
            Fate::Pass
        }
    });
    let start = Instant::now();
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let (cache, loads) = (cache.clone(), loads.clone());
            tokio::spawn(async move {
                let load = || async move {
                    loads.up();
                    tokio::time::sleep(SEC).await;
                    Ok::<_, Infallible>(7)
                };
                cache.get_or_load("key", load).await.unwrap()
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(*caller.await.unwrap(), 7);
    }
    // Who came during the first load cannot know whether the key was invalidated in between, and shares the next.
    assert!(loads.get() <= 2, "{} loads", loads.get());
    assert!(start.elapsed() <= 2 * SEC);
}

#[tokio::test(start_paused = true)]
async fn plain_operations_and_invalidations_report_the_outage() {
    for (fate, kind) in [
        (Fate::Fail(ErrorKind::Unavailable), ErrorKind::Unavailable),
        (Fate::Freeze, ErrorKind::Timeout),
    ] {
        let remote = Remote::new();
        let cache = over(&remote).backend_timeout(TIMEOUT).breaker(0, SEC).build();
        remote.always(fate);
        assert_eq!(cache.invalidate("key").await.unwrap_err().kind(), kind);
        assert_eq!(cache.delete("key").await.unwrap_err().kind(), kind);
        assert_eq!(cache.get::<i32>("key").await.unwrap_err().kind(), kind);
        assert_eq!(cache.get_many::<i32, _>(["key"]).await.unwrap_err().kind(), kind);
        assert_eq!(cache.set("key", 1).await.unwrap_err().kind(), kind);
    }
    // While the store is left alone, too: nothing was invalidated.
    let remote = Remote::new();
    let cache = cache(&remote, &Log::new());
    cache.set("key", 1).await.unwrap();
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    for _ in 0..10 {
        assert_eq!(
            cache.invalidate("key").await.unwrap_err().kind(),
            ErrorKind::Unavailable
        );
    }
    assert_eq!(cache.clear("").await.unwrap_err().kind(), ErrorKind::Unavailable);
    remote.always(Fate::Pass);
    tokio::time::advance(SEC).await;
    cache.invalidate("key").await.unwrap();
    assert!(cache.get::<i32>("key").await.unwrap().is_none());
}

/// What this process has invalidated it does not hand out itself, whatever the store says.
#[tokio::test(start_paused = true)]
async fn an_invalidation_that_fails_still_ends_the_loads_of_this_process() {
    let (remote, gate) = (Remote::new(), Gate::closed());
    let cache = cache(&remote, &Log::new());
    let call = |gate: Option<Gate>, value: &'static str| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let load = move || async move {
                if let Some(gate) = gate {
                    gate.pass().await;
                }
                Ok::<_, Infallible>(value)
            };
            cache.with_coder(Text).get_or_load("key", load).await.unwrap()
        })
    };
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    let starter = call(Some(gate.clone()), "old");
    gate.reached().await;
    let joiner = call(None, "new");
    idle().await;
    cache.invalidate("key").await.unwrap_err();
    assert_eq!(*call(None, "new").await.unwrap(), "new");
    gate.open();
    assert_eq!((*starter.await.unwrap(), *joiner.await.unwrap()), ("old", "new"));
}

/// Keeps texts that are known in advance.
#[derive(Debug)]
struct Text;

impl cache_core::Coder<&'static str> for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn encode(&self, value: &&'static str) -> Result<bytes::Bytes, cache_core::Error> {
        Ok(bytes::Bytes::from_static(value.as_bytes()))
    }

    fn decode(&self, bytes: &bytes::Bytes) -> Result<&'static str, cache_core::Error> {
        let known = ["old", "new"].into_iter().find(|known| known.as_bytes() == &bytes[..]);
        known.ok_or_else(|| cache_core::Error::new(ErrorKind::Codec, "unknown"))
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_reached_us_counts_as_unknown() {
    // The value was written, but nobody said so: those who wait look again, and find it.
    let (remote, loads, gate) = (Remote::new(), Count::new(), Gate::closed());
    let cache = cache(&remote, &Log::new());
    remote.once(Fate::FailAfter(ErrorKind::Timeout), |call| {
        call.writes(cache_core::EntryKind::Value)
    });
    let callers: Vec<_> = (0..5)
        .map(|_| {
            let (cache, loads, gate) = (cache.clone(), loads.clone(), gate.clone());
            tokio::spawn(async move {
                let load = || async move {
                    gate.pass().await;
                    Ok::<_, Infallible>(loads.up())
                };
                cache.get_or_load("key", load).await.unwrap()
            })
        })
        .collect();
    gate.reached().await;
    idle().await;
    gate.open();
    for caller in callers {
        assert_eq!(*caller.await.unwrap(), 1);
    }
    assert_eq!((loads.get(), cache.in_flight()), (1, 0));
}
