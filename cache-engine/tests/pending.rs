//! Pending invalidations, which the store did not carry out: they apply in this process, and are carried out before the
//! store is trusted again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cache_engine::Cache;
use cache_engine::cache_core::ErrorKind;
use futures_util::FutureExt;

use support::{Fate, Gate, Log, MS, Remote, SEC, idle, over};

async fn load(cache: &Cache, value: u32) -> u32 {
    *cache
        .get_or_load("key", move || async move { Ok::<_, Infallible>(value) })
        .await
        .unwrap()
}

/// What is invalidated while the store is away.
#[derive(Debug, Clone, Copy)]
enum What {
    Key,
    Tag,
    Namespace,
    Everything,
}

async fn invalidate(cache: &Cache, what: What) -> Result<(), cache_engine::cache_core::Error> {
    match what {
        What::Key => cache.invalidate("key").await,
        What::Tag => cache.invalidate_tag("tag").await,
        What::Namespace => cache.clear("").await.map(drop),
        What::Everything => cache.clear_all().await.map(drop),
    }
}

/// Only the invalidation fails: all else that the store is asked for goes through.
async fn the_old_value_is_gone_here_at_once_and_elsewhere_soon(what: What) {
    let remote = Remote::new();
    let log = Log::default();
    let here = over(&remote).observer(log.clone()).build().with_tags(["tag"]);
    let there = over(&remote).build().with_tags(["tag"]);
    assert_eq!(load(&here, 1).await, 1);
    assert_eq!(load(&there, 2).await, 1, "shared");

    remote.always(Fate::Fail(ErrorKind::Unavailable));
    let error = invalidate(&here, what).await.unwrap_err();
    assert!(error.to_string().contains("pending"), "{error}");
    assert!(here.pending_invalidations() > 0, "{what:?}");
    assert_eq!(log.count("invalidation_pending"), 1);

    // The store is back, and the first read of this process finds the old value no more.
    remote.always(Fate::Pass);
    tokio::time::advance(2 * SEC).await;
    assert_eq!(load(&here, 3).await, 3, "{what:?}");
    assert_eq!(here.pending_invalidations(), 0, "{what:?}");
    assert_eq!(load(&there, 4).await, 3, "{what:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key() {
    the_old_value_is_gone_here_at_once_and_elsewhere_soon(What::Key).await;
}

#[tokio::test(start_paused = true)]
async fn a_tag() {
    the_old_value_is_gone_here_at_once_and_elsewhere_soon(What::Tag).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace() {
    the_old_value_is_gone_here_at_once_and_elsewhere_soon(What::Namespace).await;
}

#[tokio::test(start_paused = true)]
async fn everything() {
    the_old_value_is_gone_here_at_once_and_elsewhere_soon(What::Everything).await;
}

/// While it cannot be carried out, although the store answers reads, the value counts as invalid.
#[tokio::test(start_paused = true)]
async fn what_is_pending_counts_as_invalid() {
    let remote = Remote::new();
    let here = over(&remote).breaker(0, SEC).build();
    assert_eq!(load(&here, 1).await, 1);
    remote.plan(|call| {
        if call.is("delete") {
            Fate::Fail(ErrorKind::Unavailable)
        } else {
            Fate::Pass
        }
    });
    here.invalidate("key").await.unwrap_err();
    assert_eq!(here.get::<u32>("key").await.unwrap(), None);
    assert_eq!(here.pending_invalidations(), 1);
    here.invalidate("key").await.unwrap_err();
    assert_eq!(here.pending_invalidations(), 1, "the same");
}

/// Without a read, too, other processes stop finding the old value.
#[tokio::test(start_paused = true)]
async fn it_is_carried_out_in_the_background() {
    let remote = Remote::new();
    let log = Log::default();
    let here = over(&remote).observer(log.clone()).build();
    let there = over(&remote).build();
    assert_eq!(load(&here, 1).await, 1);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    here.invalidate("key").await.unwrap_err();
    remote.always(Fate::Pass);
    tokio::time::sleep(2 * SEC).await;
    assert_eq!(there.get::<u32>("key").await.unwrap(), None);
    assert_eq!(log.count("invalidations_recovered"), 1);
}

/// A full store takes no writes, but removes.
#[tokio::test(start_paused = true)]
async fn a_full_store_can_be_invalidated() {
    for soft in [false, true] {
        let remote = Remote::new();
        let here = over(&remote).stale_if_error(SEC).build().with_tags(["tag", "other"]);
        assert_eq!(load(&here, 1).await, 1);
        remote.plan(|call| {
            if call.is("set") || call.is("set_many") {
                Fate::Fail(ErrorKind::Rejected)
            } else {
                Fate::Pass
            }
        });
        if soft {
            here.soft().invalidate_tags(["tag", "other"]).await.unwrap();
        } else {
            here.invalidate_tags(["tag", "other"]).await.unwrap();
        }
        assert_eq!(here.get::<u32>("key").await.unwrap(), None, "soft: {soft}");
        assert_eq!(here.pending_invalidations(), 0);

        remote.always(Fate::Pass);
        assert_eq!(load(&here, 2).await, 2);
        remote.plan(|call| {
            if call.is("set") {
                Fate::Fail(ErrorKind::Rejected)
            } else {
                Fate::Pass
            }
        });
        if soft {
            here.soft().invalidate("key").await.unwrap();
        } else {
            here.invalidate("key").await.unwrap();
        }
        assert_eq!(here.get::<u32>("key").await.unwrap(), None, "soft: {soft}");
    }
}

/// A read whose answer is on its way from the store while the invalidation is carried out in the background.
#[tokio::test(start_paused = true)]
async fn a_read_that_the_retry_overtakes_finds_no_old_value() {
    for what in [What::Key, What::Tag, What::Namespace, What::Everything] {
        for many in [false, true] {
            let remote = Remote::new();
            let here = over(&remote).breaker(0, SEC).build().with_tags(["tag"]);
            assert_eq!(load(&here, 1).await, 1);
            remote.always(Fate::Fail(ErrorKind::Unavailable));
            invalidate(&here, what).await.unwrap_err();
            // An attempt fails now, so that the read does not try again.
            assert!(here.get::<u32>("key").await.is_err());
            let gate = Gate::closed();
            let read = if many { "get_many" } else { "get" };
            remote.once(Fate::HoldAnswer(gate.clone()), move |call| call.is(read));
            let reading = tokio::spawn({
                let here = here.clone();
                async move {
                    if many {
                        here.get_many::<u32, _>(["key", "other"]).await.unwrap().remove(0)
                    } else {
                        here.get::<u32>("key").await.unwrap()
                    }
                }
            });
            gate.reached().await;
            tokio::time::sleep(400 * MS).await;
            assert_eq!(here.pending_invalidations(), 0, "{what:?}");
            gate.open();
            assert_eq!(reading.await.unwrap(), None, "{what:?}, many: {many}");
        }
    }
}

/// The source, and a load that has read it and takes its time.
struct Slow {
    source: Arc<AtomicU32>,
    gate: Gate,
}

impl Slow {
    fn new() -> Self {
        Self {
            source: Arc::new(AtomicU32::new(1)),
            gate: Gate::closed(),
        }
    }

    /// Loads the source as it is now, and ends when the gate is open.
    fn load(&self, cache: &Cache) -> tokio::task::JoinHandle<u32> {
        let (cache, source, gate) = (cache.clone(), Arc::clone(&self.source), self.gate.clone());
        tokio::spawn(async move {
            let load = move || async move {
                let value = source.load(Ordering::SeqCst);
                gate.pass().await;
                Ok::<_, Infallible>(value)
            };
            *cache.get_or_load("key", load).await.unwrap()
        })
    }
}

/// A caller that comes after an invalidation that failed does not get what a load brings that began before, although
/// the store shows nothing of it.
#[tokio::test(start_paused = true)]
async fn a_caller_that_joins_a_load_gets_nothing_from_before_a_failed_invalidation() {
    for what in [What::Key, What::Tag, What::Namespace, What::Everything] {
        // Whether the store is away while the load begins, when the caller comes, and when the load ends.
        for away in 0..8 {
            let away = [away & 1 > 0, away & 2 > 0, away & 4 > 0];
            let fate = |away| match away {
                true => Fate::Fail(ErrorKind::Unavailable),
                false => Fate::Pass,
            };
            let remote = Remote::new();
            let here = over(&remote).breaker(0, SEC).build().with_tags(["tag"]);
            let slow = Slow::new();
            remote.always(fate(away[0]));
            let first = slow.load(&here);
            slow.gate.reached().await;
            let before = slow.load(&here);
            idle().await;
            slow.source.store(2, Ordering::SeqCst);
            remote.always(Fate::Fail(ErrorKind::Unavailable));
            invalidate(&here, what).await.unwrap_err();
            remote.always(fate(away[1]));
            let after = slow.load(&here);
            idle().await;
            remote.always(fate(away[2]));
            slow.gate.open();
            assert_eq!(first.await.unwrap(), 1, "it asked before");
            before.await.unwrap();
            assert_eq!(after.await.unwrap(), 2, "{what:?}, away: {away:?}");
        }
    }
}

/// Callers that wait for a load which began after the failed invalidation share its value, although that is pending.
#[tokio::test(start_paused = true)]
async fn what_is_pending_does_not_keep_callers_from_sharing_a_load() {
    let remote = Remote::new();
    let here = over(&remote).breaker(0, SEC).build().with_tags(["tag"]);
    remote.plan(
        |call| match call.key.contains("!tag:") && call.is("set") || call.is("delete") {
            true => Fate::Fail(ErrorKind::Unavailable),
            false => Fate::Pass,
        },
    );
    for what in [What::Key, What::Tag] {
        let loads = Arc::new(AtomicU32::new(0));
        let _ = invalidate(&here, what).await.unwrap_err();
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let (here, loads) = (here.clone(), Arc::clone(&loads));
                tokio::spawn(async move {
                    let load = move || async move {
                        tokio::time::sleep(10 * MS).await;
                        Ok::<_, Infallible>(loads.fetch_add(1, Ordering::SeqCst))
                    };
                    *here.get_or_load("key", load).await.unwrap()
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        let loads = loads.load(Ordering::SeqCst);
        assert!(loads <= 2, "{what:?}: {loads} loads for 50 callers");
    }
}

/// A read does not wait for ten thousand of them, and they are carried out all the same.
#[tokio::test(start_paused = true)]
async fn many_of_them_hold_no_read_up() {
    let remote = Remote::new();
    let here = over(&remote).build();
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    for number in 0..5_000 {
        here.invalidate(number.to_string()).await.unwrap_err();
    }
    assert_eq!(here.pending_invalidations(), 5_000);
    tokio::time::sleep(2 * SEC).await;
    remote.always(Fate::Take(MS, MS));
    let begun = tokio::time::Instant::now();
    assert_eq!(load(&here, 1).await, 1);
    assert!(begun.elapsed() < 20 * MS, "{:?}", begun.elapsed());
    tokio::time::sleep(3 * SEC).await;
    assert_eq!(here.pending_invalidations(), 0);
}

/// What a set had not come to when its runtime ended is pending too.
#[test]
fn what_is_left_of_a_set_is_pending() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let remote = Remote::new();
    let here = over(&remote).build().with_tags(["tag"]);
    runtime().block_on(async {
        assert_eq!(load(&here, 1).await, 1);
        remote.always(Fate::Freeze);
        here.invalidation()
            .add_key("first")
            .add_key("key")
            .add_tag("tag")
            .add_namespace("")
            .add_everything()
            .run_in_background();
    });
    assert_eq!(here.pending_invalidations(), 5);
    remote.always(Fate::Pass);
    runtime().block_on(async {
        assert_eq!(load(&here, 2).await, 2);
        tokio::time::sleep(SEC).await;
        assert_eq!(here.pending_invalidations(), 0);
    });
}

/// The store answers again, but the breaker does not know yet when the process ends.
#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_until_the_return_of_the_store_is_noticed() {
    let remote = Remote::new();
    let [here, there] = [(); 2].map(|()| over(&remote).build());
    assert_eq!(load(&here, 1).await, 1);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    assert!(here.invalidate("key").await.is_err());
    for value in 2..7 {
        assert_eq!(load(&here, value).await, value, "the breaker opens");
    }
    remote.always(Fate::Pass);
    here.shutdown().await;
    assert_eq!(here.pending_invalidations(), 0);
    assert_eq!(load(&there, 7).await, 7);
}

/// A shutdown gives a store up that stays away, and says how much is pending.
#[tokio::test(start_paused = true)]
async fn a_shutdown_without_a_store_ends() {
    let remote = Remote::new();
    let here = over(&remote).breaker(1, std::time::Duration::MAX).build();
    assert_eq!(load(&here, 1).await, 1);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    assert!(here.invalidate("key").await.is_err());
    let began = tokio::time::Instant::now();
    here.shutdown().await;
    assert!(began.elapsed() <= 11 * SEC, "{:?}", began.elapsed());
    assert_eq!(here.pending_invalidations(), 1);
}

/// A batch of soft invalidations whose caller leaves is pending as a whole, also the keys whose turn had not come.
#[tokio::test(start_paused = true)]
async fn a_batch_whose_caller_leaves_is_pending() {
    let remote = Remote::new();
    let here = over(&remote).stale_if_error(60 * SEC).build();
    let keys: Vec<String> = (0..200).map(|id| id.to_string()).collect();
    for key in &keys {
        here.set(key, 1_u32).await.unwrap();
    }
    remote.always(Fate::Freeze);
    assert!(here.soft().invalidate_many(&keys).now_or_never().is_none());
    assert_eq!(here.pending_invalidations(), keys.len());
    remote.always(Fate::Pass);
    tokio::time::sleep(2 * SEC).await;
    assert_eq!(here.pending_invalidations(), 0);
    let there = over(&remote).build();
    for key in &keys {
        assert_eq!(there.get::<u32>(key).await.unwrap(), None, "{key}");
    }
}

/// A store that answers and refuses is asked less and less often, and only for a few of them at a time.
#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_invalidations_is_not_asked_all_the_time() {
    let remote = Remote::new();
    let here = over(&remote).build();
    let keys: Vec<String> = (0..200).map(|id| id.to_string()).collect();
    for key in &keys {
        here.set(key, 1_u32).await.unwrap();
    }
    remote.plan(|call| match call.is("delete") {
        true => Fate::Fail(ErrorKind::Rejected),
        false => Fate::Pass,
    });
    here.invalidate_many(&keys).await.unwrap_err();
    assert_eq!(here.pending_invalidations(), keys.len());
    remote.take_calls();
    tokio::time::sleep(60 * SEC).await;
    let calls = remote.take_calls().len();
    assert!((100..500).contains(&calls), "{calls} calls in a minute");
    // The few that the store accepts have their turn, although it refuses the others.
    remote.plan(|call| match call.is("delete") && !call.key.ends_with('7') {
        true => Fate::Fail(ErrorKind::Rejected),
        false => Fate::Pass,
    });
    tokio::time::sleep(120 * SEC).await;
    assert_eq!(here.pending_invalidations(), 180);
    remote.always(Fate::Pass);
    tokio::time::sleep(31 * SEC).await;
    assert_eq!(here.pending_invalidations(), 0);
}
