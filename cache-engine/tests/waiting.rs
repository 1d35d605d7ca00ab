//! Waiting always ends: for loads of other processes that wait for this one, for loads that hang, and in large batches.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_engine::cache_core::{
    Backend, Capabilities, EntryKind, Error, ErrorKind, Key, Record, SetOptions, SetOutcome, Value, async_trait,
};
use cache_engine::{Cache, LoadError};

use support::{Fate, Gate, Log, Remote, over};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Loads `outer`, and within that load `inner`, once `gate` is open.
async fn nested(cache: &Cache, outer: &'static str, inner: &'static str, gate: Gate) -> u32 {
    let within = cache.clone();
    let load = move || async move {
        gate.pass().await;
        let inner = within.get_or_load(inner, || async { Ok::<_, Infallible>(1_u32) }).await;
        Ok::<_, Infallible>(inner.map_or(0, |value| *value) + 1)
    };
    cache.get_or_load(outer, load).await.map_or(0, |value| *value)
}

/// One process loads k1 and asks for k2, while another loads k2 and asks for k1.
#[tokio::test(start_paused = true)]
async fn loads_of_two_processes_that_wait_for_each_other_end() {
    let remote = Remote::new();
    let (one, two) = (over(&remote).build(), over(&remote).build());
    let (first, second) = (Gate::closed(), Gate::closed());
    let begun = tokio::time::Instant::now();
    let loads = async {
        tokio::join!(
            nested(&one, "k1", "k2", first.clone()),
            nested(&two, "k2", "k1", second.clone())
        )
    };
    let start = async {
        first.reached().await;
        second.reached().await;
        first.open();
        second.open();
    };
    let ((k1, k2), ()) = tokio::time::timeout(60 * SEC, async { tokio::join!(loads, start) })
        .await
        .expect("they wait for each other for ever");
    assert!(k1 > 0 && k2 > 0);
    assert!(begun.elapsed() < 11 * SEC, "{:?}", begun.elapsed());
    // One lease time later nothing is left of it.
    tokio::time::sleep(6 * SEC).await;
    assert_eq!(remote.leases().await, Vec::<String>::new());
}

/// The control: a load that no other load waits for waits for a lease as long as that is renewed.
#[tokio::test(start_paused = true)]
async fn a_load_that_nothing_waits_for_waits_longer() {
    let remote = Remote::new();
    let (one, two) = (over(&remote).build(), over(&remote).build());
    let gate = Gate::closed();
    let held = gate.clone();
    let leader = tokio::spawn(async move {
        let load = || async move {
            held.pass().await;
            Ok::<_, Infallible>(1_u32)
        };
        *one.get_or_load("key", load).await.unwrap()
    });
    gate.reached().await;
    let waiting = tokio::spawn(async move {
        *two.get_or_load("key", || async { Ok::<_, Infallible>(2_u32) })
            .await
            .unwrap()
    });
    tokio::time::sleep(20 * SEC).await;
    assert!(!waiting.is_finished());
    gate.open();
    assert_eq!((leader.await.unwrap(), waiting.await.unwrap()), (1, 1));
}

/// Two caches of one process whose loads wait for each other: the circle is found, and reported.
#[tokio::test(start_paused = true)]
async fn a_circle_over_two_caches_is_found() {
    let (one, two) = (over(&Remote::new()).build(), over(&Remote::new()).build());
    let (first, second) = (Gate::closed(), Gate::closed());
    let circles = Arc::new(AtomicUsize::new(0));
    let ask = |outer: Cache, inner: Cache, gate: Gate| {
        let circles = Arc::clone(&circles);
        async move {
            let load = move || async move {
                gate.pass().await;
                let asked = inner.get_or_load("key", || async { Ok::<_, Infallible>(1_u32) }).await;
                if matches!(asked, Err(LoadError::Circular(_))) {
                    circles.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<_, Infallible>(2_u32)
            };
            *outer.get_or_load("key", load).await.unwrap()
        }
    };
    let loads = async {
        tokio::join!(
            ask(one.clone(), two.clone(), first.clone()),
            ask(two.clone(), one.clone(), second.clone())
        )
    };
    let start = async {
        first.reached().await;
        second.reached().await;
        first.open();
        second.open();
    };
    let (values, ()) = tokio::time::timeout(SEC, async { tokio::join!(loads, start) })
        .await
        .expect("they wait for each other for ever");
    assert_eq!(values, (2, 2));
    assert_eq!(circles.load(Ordering::SeqCst), 1, "one of them goes on");
}

/// A load that hangs gives its key back.
#[tokio::test(start_paused = true)]
async fn a_lease_is_not_renewed_for_ever() {
    let remote = Remote::new();
    let log = Log::default();
    let here = over(&remote).max_lease(30 * SEC).observer(log.clone()).build();
    let there = over(&remote).build();
    let hanging = here.clone();
    let caller = tokio::spawn(async move {
        hanging
            .get_or_load("key", || async {
                std::future::pending::<()>().await;
                Ok::<_, Infallible>(1_u32)
            })
            .await
    });
    tokio::time::sleep(20 * SEC).await;
    assert_eq!(remote.leases().await.len(), 1, "renewed so far");
    caller.abort();
    tokio::time::sleep(20 * SEC).await;
    assert_eq!(remote.leases().await, Vec::<String>::new());
    assert_eq!(log.count("lease_lost"), 1);
    // Here and elsewhere, others load in its place.
    for cache in [&here, &there] {
        let value = cache.get_or_load("key", || async { Ok::<_, Infallible>(2_u32) });
        assert_eq!(*tokio::time::timeout(SEC, value).await.unwrap().unwrap(), 2);
    }
}

/// Without a store, or without a lease in it, the load of a key that hangs is waited for no longer.
#[tokio::test(start_paused = true)]
async fn a_load_without_a_lease_does_not_hold_its_key_for_ever() {
    for refuses_writes in [false, true] {
        let remote = Remote::new();
        let log = Log::default();
        let here = over(&remote).max_lease(30 * SEC).observer(log.clone()).build();
        remote.plan(move |call| match refuses_writes {
            true if call.is("get") => Fate::Pass,
            true => Fate::Fail(ErrorKind::Rejected),
            false => Fate::Fail(ErrorKind::Unavailable),
        });
        let hanging = here.clone();
        let load = async move {
            let hangs = || async { std::future::pending::<Result<u32, Infallible>>().await };
            hanging.get_or_load("key", hangs).await
        };
        tokio::spawn(load);
        support::idle().await;
        remote.always(Fate::Pass);
        let value = || here.get_or_load("key", || async { Ok::<_, Infallible>(2_u32) });
        let early = tokio::time::timeout(20 * SEC, value()).await;
        assert!(early.is_err(), "the control: one load at a time, so far");
        // A caller who waits already loads in its place, and so do those who come later.
        assert_eq!(*tokio::time::timeout(11 * SEC, value()).await.unwrap().unwrap(), 2);
        assert_eq!(*tokio::time::timeout(SEC, value()).await.unwrap().unwrap(), 2);
        assert_eq!(log.count("lease_lost"), 1, "refuses writes: {refuses_writes}");
    }
}

/// The backend of a third party has a bug. Its caller loads without a lease.
#[tokio::test(start_paused = true)]
async fn a_backend_that_panics_makes_nobody_wait() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    remote.plan(|call| match call.is("set") {
        true => Fate::Panic,
        false => Fate::Pass,
    });
    let value = cache.get_or_load("key", || async { Ok::<_, Infallible>(1_u32) });
    assert_eq!(*tokio::time::timeout(SEC, value).await.unwrap().unwrap(), 1);
}

/// A store that holds nothing, and accepts nothing.
#[derive(Debug)]
struct Refusing {
    enumerates: bool,
}

#[async_trait]
impl Backend for Refusing {
    async fn get(&self, _: &Key) -> Result<Option<Record>, Error> {
        Ok(None)
    }

    async fn set(&self, _: &Key, _: Value, _: SetOptions) -> Result<SetOutcome, Error> {
        Ok(SetOutcome::Refused)
    }

    async fn delete(&self, _: &Key) -> Result<bool, Error> {
        Ok(false)
    }

    fn capabilities(&self) -> Capabilities {
        // Without it, namespaces have records like those of tags.
        Capabilities::default().with_clear(self.enumerates)
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_refused_although_there_is_none_is_not_waited_for_for_ever() {
    for enumerates in [false, true] {
        let cache = Cache::builder(Refusing { enumerates }).max_lease(30 * SEC).build();
        for cache in [&cache.with_tags(["tag"]), &cache] {
            let value = cache.get_or_load("key", || async { Ok::<_, Infallible>(1_u32) });
            assert_eq!(*tokio::time::timeout(40 * SEC, value).await.unwrap().unwrap(), 1);
        }
        let invalidation = cache.soft().invalidate_tag("tag");
        tokio::time::timeout(SEC, invalidation).await.unwrap().unwrap_err();
    }
}

/// 4,000 ids on a slow store, by a loader that is slow too, are all stored, and the breaker stays closed.
#[tokio::test(start_paused = true)]
async fn a_large_batch_is_stored() {
    let remote = Remote::new();
    let log = Log::default();
    let cache = over(&remote).lease_time(2 * SEC).observer(log.clone()).build();
    remote.plan(|call| {
        let slow = if call.is("get_many") { Duration::ZERO } else { 50 * MS };
        Fate::Take(slow, Duration::ZERO)
    });
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let load = move |ids: Vec<u32>| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert!(ids.len() <= 500);
        async move {
            tokio::time::sleep(5 * SEC).await;
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect::<HashMap<_, _>>())
        }
    };
    let values = cache.get_or_load_many(0..4_000_u32, load).await.unwrap();
    assert_eq!(values.len(), 4_000);
    assert_eq!(calls.load(Ordering::SeqCst), 8);
    assert_eq!(
        (
            log.count("lease_lost"),
            log.count("breaker_opened"),
            log.count("fenced")
        ),
        (0, 0, 0)
    );
    let writes = remote.take_calls();
    let stored = writes.iter().filter(|call| call.writes(EntryKind::Value)).count();
    assert_eq!(stored, 4_000);
}
