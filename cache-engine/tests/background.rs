//! A refresh in the background has a context of its own: it outlives the request that started it, and ends by its deadline
//! or with the cache.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use cache_engine::{Cache, CacheBuilder, Lookup};
use support::{Count, Gate, Log, MS, Remote, SEC, TokioClock, idle, local, over};
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(30);

/// Caches with a stale value under "key", and their events.
async fn stale(change: impl Fn(CacheBuilder) -> CacheBuilder) -> Vec<(Cache, Log)> {
    let mut caches = Vec::new();
    for builder in [local(&TokioClock::new()), over(&Remote::new())] {
        let log = Log::new();
        let builder = builder
            .ttl(SEC)
            .stale_while_revalidate(600 * SEC)
            .max_lease(LEASE)
            .observer(log.clone());
        let cache = change(builder).build();
        cache.set("key", 0).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        caches.push((cache, log));
    }
    caches
}

/// Says when it is dropped.
struct Dropped(Count);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.up();
    }
}

/// Gets the stale value, and starts a refresh that never ends. Returns when the refresh runs.
async fn hang(cache: &Cache) -> Count {
    let (gate, dropped) = (Gate::closed(), Count::new());
    let load = {
        let (gate, guard) = (gate.clone(), Dropped(dropped.clone()));
        move || async move {
            let _guard = guard;
            gate.pass().await;
            std::future::pending::<Result<i32, Infallible>>().await
        }
    };
    gate.open();
    assert_eq!(*cache.get_or_load("key", load).await.unwrap(), 0);
    gate.reached().await;
    idle().await;
    dropped
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_is_cancelled_when_it_has_lost_its_lease() {
    for (cache, log) in stale(|builder| builder).await {
        let began = Instant::now();
        let dropped = hang(&cache).await;
        cache.settled().await;
        let took = began.elapsed();
        assert!(took >= LEASE && took < LEASE + SEC, "{took:?}");
        assert_eq!((dropped.get(), log.count("load_failed"), cache.in_flight()), (1, 1, 0));
        // The stale value is still there, and the next request refreshes it.
        let loads = Count::new();
        assert_eq!(*cache.get_or_load("key", loads.loading(1)).await.unwrap(), 0);
        cache.settled().await;
        assert_eq!(
            (cache.get::<i32>("key").await.unwrap().as_deref(), loads.get()),
            (Some(&1), 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_load_timeout_ends_a_refresh_sooner() {
    for (cache, log) in stale(|builder| builder.load_timeout(3 * SEC)).await {
        let began = Instant::now();
        let dropped = hang(&cache).await;
        cache.settled().await;
        let took = began.elapsed();
        assert!(took >= 3 * SEC && took < 4 * SEC, "{took:?}");
        assert_eq!((dropped.get(), log.count("load_failed")), (1, 1));
    }
}

/// The control: a load for which a caller waits has no deadline but its time limit.
#[tokio::test(start_paused = true)]
async fn a_load_that_a_caller_waits_for_has_no_deadline() {
    for (cache, _) in stale(|builder| builder).await {
        let load = || async {
            tokio::time::sleep(2 * LEASE).await;
            Ok::<_, Infallible>(1)
        };
        assert_eq!(*cache.get_or_load("other", load).await.unwrap(), 1);
        assert_eq!(*cache.refresh("key", load).await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn batches_and_verifications_have_a_deadline_too() {
    for (cache, log) in stale(|builder| builder).await {
        let load = |_: Vec<&str>| std::future::pending::<Result<std::collections::HashMap<&str, i32>, Infallible>>();
        assert_eq!(*cache.get_or_load_many(["key"], load).await.unwrap()["key"], 0);
        cache.settled().await;
        assert_eq!((log.count("load_failed"), cache.in_flight()), (1, 0));
    }
    let cache = local(&TokioClock::new()).verify(1.0).max_lease(LEASE).build();
    cache.set("key", 0).await.unwrap();
    let began = Instant::now();
    let load = std::future::pending::<Result<i32, Infallible>>;
    assert_eq!(*cache.get_or_load("key", load).await.unwrap(), 0);
    cache.settled().await;
    assert!(began.elapsed() < LEASE + SEC);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cancels_refreshes_that_do_not_end_soon() {
    for (cache, log) in stale(|builder| builder).await {
        let dropped = hang(&cache).await;
        tokio::time::advance(SEC).await;
        let began = Instant::now();
        cache.shutdown().await;
        let took = began.elapsed();
        assert!(took >= 5 * SEC && took < 6 * SEC, "{took:?}");
        assert_eq!((dropped.get(), log.count("load_failed"), cache.in_flight()), (1, 1, 0));
        let load = || async { Ok::<_, Infallible>(1) };
        assert_eq!(*cache.get_or_load("key", load).await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_for_a_cancelled_refresh_loads_itself() {
    for (cache, _) in stale(|builder| builder).await {
        let dropped = hang(&cache).await;
        // It does not accept the stale value, so it waits for the refresh.
        let waiting = tokio::spawn({
            let cache = cache.clone();
            async move { *cache.refresh("key", || async { Ok::<_, Infallible>(2) }).await.unwrap() }
        });
        idle().await;
        assert!(!waiting.is_finished());
        cache.shutdown().await;
        assert_eq!((waiting.await.unwrap(), dropped.get()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn neither_the_end_nor_the_time_limit_nor_the_cancellation_of_the_request_ends_the_refresh() {
    for (cache, _) in stale(|builder| builder).await {
        let gate = Gate::closed();
        let load = {
            let gate = gate.clone();
            || async move {
                gate.pass().await;
                Ok::<_, Infallible>(1)
            }
        };
        let request = tokio::spawn({
            let cache = cache.clone();
            async move {
                let get = async {
                    assert_eq!(*cache.get_or_load("key", load).await.unwrap(), 0);
                    // The rest of the request.
                    std::future::pending::<()>().await;
                };
                let _ = tokio::time::timeout(100 * MS, get).await;
            }
        });
        gate.reached().await;
        request.abort();
        let _ = request.await;
        idle().await;
        gate.open();
        cache.settled().await;
        assert_eq!(cache.get::<i32>("key").await.unwrap().as_deref(), Some(&1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_refresh_of_an_adapter_has_the_same_context() {
    for (cache, log) in stale(|builder| builder).await {
        let Lookup::Stale { refresh, .. } = cache.adapter().lookup::<i32>(&cache.key("key")).await else {
            panic!("it is stale")
        };
        let began = Instant::now();
        cache.adapter().spawn_refresh(refresh.unwrap(), |mut fill| async move {
            fill.renewing(std::future::pending::<()>()).await;
        });
        cache.settled().await;
        let took = began.elapsed();
        assert!(took >= LEASE && took < LEASE + SEC, "{took:?}");
        assert_eq!((log.count("load_failed"), cache.in_flight()), (1, 0));
    }
}
