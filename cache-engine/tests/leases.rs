//! One load in the cluster: two caches on one store, as in two processes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Clock, EntryKind, Envelope, ErrorKind, FreshnessWindows, SetOptions};
use cache_engine::Cache;
use support::{Count, Fate, Gate, Log, MS, Remote, SEC, TokioClock, idle, over};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(5);
/// The longest pause between two looks at a lease.
const POLL: Duration = Duration::from_millis(101);

fn two(remote: &Remote) -> [Cache; 2] {
    [(); 2].map(|()| over(remote).lease_time(LEASE).build())
}

fn load(cache: &Cache, loads: &Count, takes: Duration) -> JoinHandle<Arc<usize>> {
    let (cache, loads) = (cache.clone(), loads.clone());
    tokio::spawn(async move {
        let load = move || async move {
            let number = loads.up();
            tokio::time::sleep(takes).await;
            Ok::<_, Infallible>(number)
        };
        cache.get_or_load("key", load).await.unwrap()
    })
}

#[tokio::test(start_paused = true)]
async fn two_processes_make_one_load_and_both_have_its_value() {
    let remote = Remote::new();
    let caches = two(&remote);
    let loads = Count::new();
    let callers: Vec<_> = (0..100)
        .map(|number| load(&caches[number % 2], &loads, 2 * SEC))
        .collect();
    let start = Instant::now();
    for caller in callers {
        assert_eq!(*caller.await.unwrap(), 1);
    }
    assert!(start.elapsed() <= 2 * SEC + POLL, "the others learn of it promptly");
    assert_eq!(loads.get(), 1);
    assert_eq!((caches[0].in_flight(), caches[1].in_flight()), (0, 0));
    assert_eq!(remote.leases().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_load_that_takes_longer_than_the_lease_renews_it() {
    let remote = Remote::new();
    let caches = two(&remote);
    let loads = Count::new();
    let (first, second) = (load(&caches[0], &loads, 10 * LEASE), load(&caches[1], &loads, SEC));
    assert_eq!((*first.await.unwrap(), *second.await.unwrap()), (1, 1));
    assert_eq!(loads.get(), 1);
}

/// The first process dies: its tasks are gone at once, and nothing that it holds is given back.
#[tokio::test(start_paused = true)]
async fn a_leader_that_was_killed_is_replaced_within_the_lease_time() {
    let remote = Remote::new();
    let [alive, _] = two(&remote);
    let key = alive.key("key");
    let left = Envelope::new(EntryKind::Lease, TokioClock::new().now(), FreshnessWindows::new(LEASE));
    remote
        .plant(&key, left.encode(&key).unwrap(), SetOptions::new(LEASE))
        .await;
    let (loads, start) = (Count::new(), Instant::now());
    assert_eq!(*load(&alive, &loads, SEC).await.unwrap(), 1);
    assert!(start.elapsed() >= LEASE, "a lease is respected");
    assert!(start.elapsed() <= LEASE + POLL + SEC, "{:?}", start.elapsed());
}

#[test]
fn so_is_one_whose_runtime_was_shut_down() {
    // Two runtimes share no paused clock, so this one test takes a fifth of a second.
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let remote = Remote::over(support::memory(cache_core::SystemClock));
    let make = || Cache::builder(remote.clone()).lease_time(200 * MS).build();
    let dying = runtime();
    let loads = Count::new();
    dying.block_on(async {
        let gate = Gate::closed();
        let (cache, held) = (make(), gate.clone());
        tokio::spawn(async move {
            let load = || async move {
                held.pass().await;
                Ok::<_, Infallible>(0_usize)
            };
            cache.get_or_load("key", load).await
        });
        gate.reached().await;
    });
    drop(dying);
    let value = runtime().block_on(async { load(&make(), &loads, MS).await.unwrap() });
    assert_eq!((*value, loads.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_releases_its_lease_at_once() {
    let remote = Remote::new();
    let [first, second] = two(&remote);
    let gate = Gate::closed();
    let failing = tokio::spawn({
        let (cache, gate) = (first.clone(), gate.clone());
        async move {
            let load = || async move {
                gate.pass().await;
                Err::<usize, _>("failed")
            };
            cache.get_or_load("key", load).await
        }
    });
    gate.reached().await;
    let (loads, start) = (Count::new(), Instant::now());
    let waiting = load(&second, &loads, Duration::ZERO);
    idle().await;
    gate.open();
    failing.await.unwrap().unwrap_err();
    assert_eq!(remote.leases().await, Vec::<String>::new());
    assert_eq!(*waiting.await.unwrap(), 1, "the other process loads by itself");
    assert!(start.elapsed() <= POLL);
}

#[tokio::test(start_paused = true)]
async fn a_borrowing_caller_that_goes_away_releases_its_lease() {
    let remote = Remote::new();
    let [first, second] = two(&remote);
    let gate = Gate::closed();
    let caller = tokio::spawn({
        let gate = gate.clone();
        async move {
            let load = || async {
                gate.pass().await;
                Ok::<_, Infallible>(0_usize)
            };
            first.borrowing().get_or_load("key", load).await.unwrap();
        }
    });
    gate.reached().await;
    let (loads, start) = (Count::new(), Instant::now());
    let waiting = load(&second, &loads, Duration::ZERO);
    idle().await;
    caller.abort();
    assert_eq!(*waiting.await.unwrap(), 1);
    assert!(start.elapsed() <= POLL);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_lost_keeps_the_value_out_of_the_store() {
    let remote = Remote::new();
    let log = Log::new();
    let cache = over(&remote).lease_time(LEASE).observer(log.clone()).build();
    let loads = Count::new();
    let caller = load(&cache, &loads, 2 * LEASE);
    tokio::time::sleep(SEC).await;
    assert!(
        remote.remove(&cache.key("key")).await,
        "as another process invalidates it"
    );
    assert_eq!(*caller.await.unwrap(), 1);
    assert_eq!(
        (log.count("lease_lost"), log.count("fenced"), log.count("stored")),
        (1, 1, 0)
    );
    assert!(remote.peek(&cache.key("key")).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again_while_the_lease_lasts() {
    let remote = Remote::new();
    let [first, second] = two(&remote);
    let mut leases = 0;
    remote.plan(move |call| {
        leases += u32::from(call.writes(EntryKind::Lease));
        // The first renewal, which follows on the first lease.
        if call.writes(EntryKind::Lease) && leases == 2 {
            Fate::Fail(ErrorKind::Unavailable)
        } else {
            Fate::Pass
        }
    });
    let loads = Count::new();
    let caller = load(&first, &loads, 3 * LEASE);
    idle().await;
    let other = load(&second, &loads, SEC);
    assert_eq!((*caller.await.unwrap(), *other.await.unwrap()), (1, 1));
    assert_eq!(loads.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_process_waits_without_holding_up_the_store() {
    let remote = Remote::new();
    let caches = two(&remote);
    let loads = Count::new();
    let (first, second) = (load(&caches[0], &loads, 10 * SEC), load(&caches[1], &loads, SEC));
    first.await.unwrap();
    second.await.unwrap();
    let looks = remote.take_calls().iter().filter(|call| call.is("get")).count();
    assert!(looks < 300, "{looks} looks in ten seconds");
}

/// A load that was overtaken may take for ever, but nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_was_overtaken_does_not_hold_up_later_ones() {
    let remote = Remote::new();
    let log = Log::new();
    let make = || over(&remote).lease_time(LEASE).ttl(SEC).stale_if_error(3600 * SEC);
    let (here, there) = (make().observer(log.clone()).build(), make().build());
    here.set("key", 0_usize).await.unwrap();
    tokio::time::sleep(2 * SEC).await;
    let loads = Count::new();
    let overtaken = load(&here, &loads, 600 * SEC);
    tokio::time::sleep(LEASE).await;
    there.invalidate("key").await.unwrap();
    assert_eq!(*load(&there, &loads, SEC).await.unwrap(), 2);
    tokio::time::sleep(LEASE).await;
    let start = Instant::now();
    assert_eq!(*load(&there, &loads, SEC).await.unwrap(), 3);
    assert!(start.elapsed() <= SEC + POLL, "{:?}", start.elapsed());
    assert_eq!(log.count("lease_lost"), 1);
    assert_eq!(*overtaken.await.unwrap(), 1);
    assert_eq!(
        *there.get::<usize>("key").await.unwrap().unwrap_or_default(),
        0,
        "not the overtaken one's"
    );
}

/// What is still under the key while it is replaced is of no use: its tag was invalidated, or it is for failures only.
#[tokio::test(start_paused = true)]
async fn another_process_is_woken_whatever_stands_under_the_key() {
    for tagged in [true, false] {
        let remote = Remote::telling();
        let caches = two(&remote).map(|cache| {
            let policy = cache.policy().with_ttl(SEC).with_stale_if_error(60 * SEC);
            cache.with_tags(["tag"]).with_policy(policy)
        });
        caches[0].set("key", 0_usize).await.unwrap();
        if tagged {
            caches[0].invalidate_tag("tag").await.unwrap();
        } else {
            tokio::time::sleep(2 * SEC).await;
        }
        let (loads, start) = (Count::new(), Instant::now());
        let first = load(&caches[0], &loads, 2 * SEC);
        idle().await;
        let ids = ["key"];
        let many = tokio::spawn({
            let cache = caches[1].clone();
            async move {
                let load = |_: Vec<&'static str>| async move { panic!("it is loaded by the other process") };
                cache
                    .get_or_load_many::<_, usize, Infallible, _, _>(ids, load)
                    .await
                    .unwrap()
            }
        });
        let second = load(&caches[1], &loads, SEC);
        assert_eq!((*first.await.unwrap(), *second.await.unwrap()), (1, 1));
        assert_eq!(start.elapsed(), 2 * SEC, "tagged: {tagged}");
        assert_eq!(*many.await.unwrap()["key"], 1);
        assert_eq!(start.elapsed(), 2 * SEC, "many, tagged: {tagged}");
    }
}

/// Its write was carried out, and the answer was lost.
#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_knows_of_is_not_waited_for() {
    for remote in [Remote::new(), Remote::new().getting_or_adding()] {
        let [cache, other] = two(&remote);
        remote.once(Fate::FailAfter(ErrorKind::Timeout), |call| {
            call.writes(EntryKind::Lease)
        });
        let loads = Count::new();
        assert_eq!(*load(&cache, &loads, SEC).await.unwrap(), 1);
        assert_eq!(remote.leases().await.len(), 1, "nobody releases it");
        let start = Instant::now();
        let waiting = load(&other, &loads, SEC);
        assert_eq!(*load(&cache, &loads, SEC).await.unwrap(), 2);
        assert_eq!(start.elapsed(), SEC);
        // Another process has no reason to doubt it, and gets the value instead of waiting for its end.
        assert_eq!(*waiting.await.unwrap(), 2);
        assert!(start.elapsed() <= SEC + POLL, "{:?}", start.elapsed());
        assert_eq!(remote.leases().await, Vec::<String>::new());
    }
}

/// The store fails before the value is stored, or takes no more writes.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_left_in_an_outage_is_not_waited_for() {
    let kinds = [ErrorKind::Unavailable, ErrorKind::Rejected];
    for (stale, kind) in [false, true]
        .into_iter()
        .flat_map(|stale| kinds.map(|kind| (stale, kind)))
    {
        let remote = Remote::new();
        let cache = over(&remote)
            .lease_time(LEASE)
            .ttl(SEC)
            .stale_if_error(60 * SEC)
            .build();
        if stale {
            cache.set("key", 0_usize).await.unwrap();
            tokio::time::sleep(2 * SEC).await;
        }
        let loads = Count::new();
        let caller = load(&cache, &loads, SEC);
        idle().await;
        remote.plan(move |call| match call.is("get") && kind == ErrorKind::Rejected {
            true => Fate::Pass,
            false => Fate::Fail(kind),
        });
        assert_eq!(*caller.await.unwrap(), 1);
        idle().await;
        if !stale {
            let start = Instant::now();
            assert_eq!(*load(&cache, &Count::new(), MS).await.unwrap(), 1);
            assert!(start.elapsed() <= MS, "nor meanwhile");
        }
        remote.always(Fate::Pass);
        assert_eq!(remote.leases().await.len(), 1);
        let start = Instant::now();
        assert_eq!(*load(&cache, &loads, 100 * MS).await.unwrap(), 2);
        assert_eq!(start.elapsed(), 100 * MS);
        assert_eq!(
            remote.peek(&cache.key("key")).await.map(|envelope| envelope.kind),
            Some(EntryKind::Value)
        );
    }
}

/// The next load of another process is waited for as before.
#[tokio::test(start_paused = true)]
async fn a_lease_is_doubted_once() {
    let remote = Remote::new();
    let [cache, other] = two(&remote);
    remote.once(Fate::FailAfter(ErrorKind::Timeout), |call| {
        call.writes(EntryKind::Lease)
    });
    let loads = Count::new();
    load(&cache, &loads, MS).await.unwrap();
    load(&cache, &loads, MS).await.unwrap();
    assert!(remote.remove(&cache.key("key")).await);
    let first = load(&other, &loads, SEC);
    idle().await;
    assert_eq!(*load(&cache, &loads, SEC).await.unwrap(), 3);
    assert_eq!(*first.await.unwrap(), 3);
}
