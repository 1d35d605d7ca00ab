//! Refresh before expiry: by a share of the lifetime, and by chance (XFetch).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_engine::{Cache, CacheBuilder, Event, Loaded, LoadedMany, Lookup, Policy, cached};
use support::{Count, Gate, Log, Remote, SEC, TokioClock, idle, local, memory, over};

/// A cache that every kind of store is tried with: in this process, elsewhere, and elsewhere with a near tier.
fn caches() -> [CacheBuilder; 3] {
    let near = over(&Remote::new())
        .near(memory(TokioClock::new()))
        .near_max_age(3600 * SEC);
    [local(&TokioClock::new()), over(&Remote::new()), near]
}

async fn get(cache: &Cache, loads: &Count) -> usize {
    let loads = loads.clone();
    let load = move || async move { Ok::<_, Infallible>(loads.up()) };
    *cache.get_or_load("key", load).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_hit_after_the_share_refreshes_in_the_background() {
    for builder in caches() {
        let log = Log::default();
        let cache = builder
            .ttl(10 * SEC)
            .early_refresh_after(0.8)
            .observer(log.clone())
            .build();
        let loads = Count::new();
        assert_eq!(get(&cache, &loads).await, 1);
        tokio::time::advance(7 * SEC).await;
        assert_eq!(get(&cache, &loads).await, 1);
        idle().await;
        assert_eq!(loads.get(), 1, "it is too early");

        tokio::time::advance(SEC).await;
        log.take();
        assert_eq!(get(&cache, &loads).await, 1, "the caller does not wait");
        assert_eq!(log.take()[0], "hit");
        idle().await;
        assert_eq!(loads.get(), 2);
        assert_eq!(get(&cache, &loads).await, 2);
        tokio::time::advance(7 * SEC).await;
        assert_eq!(get(&cache, &loads).await, 2, "its lifetime began anew");
        idle().await;
        assert_eq!(loads.get(), 2);
        assert_eq!(cache.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn without_traffic_nothing_is_loaded() {
    let cache = local(&TokioClock::new())
        .ttl(10 * SEC)
        .early_refresh_after(0.1)
        .early_refresh_beta(1000.0)
        .build();
    let loads = Count::new();
    get(&cache, &loads).await;
    tokio::time::sleep(100 * SEC).await;
    assert_eq!(loads.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_refresh_at_a_time_and_a_failed_one_leaves_the_value() {
    for builder in caches() {
        let cache = builder.ttl(10 * SEC).early_refresh_after(0.5).build();
        let gate = Gate::closed();
        let loads = Count::new();
        let get = |result: Result<u32, &'static str>| {
            let (gate, loads) = (gate.clone(), loads.clone());
            let load = move || async move {
                loads.up();
                gate.pass().await;
                result
            };
            cache.get_or_load("key", load)
        };
        cache.set("key", 1_u32).await.unwrap();
        tokio::time::advance(5 * SEC).await;
        for _ in 0..5 {
            assert_eq!(*get(Err("down")).await.unwrap(), 1);
        }
        gate.reached().await;
        idle().await;
        assert_eq!(loads.get(), 1);
        gate.admit(1);
        idle().await;
        assert_eq!(
            *get(Ok(2)).await.unwrap(),
            1,
            "the failed refresh has left it, and this one runs"
        );
        gate.reached().await;
        gate.admit(1);
        idle().await;
        assert_eq!(cache.get::<u32>("key").await.unwrap().as_deref(), Some(&2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_during_the_refresh_keeps_its_value_out() {
    let cache = over(&Remote::new()).ttl(10 * SEC).early_refresh_after(0.5).build();
    cache.set("key", 1_u32).await.unwrap();
    tokio::time::advance(5 * SEC).await;
    let gate = Gate::closed();
    let load = {
        let gate = gate.clone();
        move || async move {
            gate.pass().await;
            Ok::<_, Infallible>(2_u32)
        }
    };
    assert_eq!(*cache.get_or_load("key", load).await.unwrap(), 1);
    gate.reached().await;
    cache.invalidate("key").await.unwrap();
    gate.open();
    idle().await;
    assert_eq!(cache.get::<u32>("key").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_ends_after_the_expiry_is_not_in_vain() {
    for builder in caches() {
        let cache = builder.ttl(10 * SEC).early_refresh_after(0.5).build();
        cache.set("key", 0_usize).await.unwrap();
        tokio::time::advance(9 * SEC).await;
        let (gate, loads) = (Gate::closed(), Count::new());
        let get = || {
            let (cache, gate, loads) = (cache.clone(), gate.clone(), loads.clone());
            let load = move || async move {
                gate.pass().await;
                Ok::<_, Infallible>(loads.up())
            };
            tokio::spawn(async move { *cache.get_or_load("key", load).await.unwrap() })
        };
        assert_eq!(get().await.unwrap(), 0);
        gate.reached().await;
        tokio::time::advance(2 * SEC).await;
        assert!(cache.get::<usize>("key").await.unwrap().is_none(), "it has expired");
        let waiting = get();
        idle().await;
        gate.open();
        assert_eq!(waiting.await.unwrap(), 1);
        assert_eq!(*cache.get::<usize>("key").await.unwrap().unwrap(), 1);
        assert_eq!(loads.get(), 1, "the value of the refresh was stored");
    }
}

/// By the clock of the system, a store in this process tells by the remaining time whether a value is fresh.
#[tokio::test]
async fn what_is_retained_for_a_refresh_is_not_fresh() {
    let cache = Cache::builder(cache_memory::MemoryBackend::default())
        .ttl(Duration::from_millis(20))
        .early_refresh_after(1.0)
        .build();
    cache.set("key", 1_u32).await.unwrap();
    std::thread::sleep(Duration::from_millis(30));
    let plain = cache.with_policy(Policy::default());
    assert!(plain.get::<u32>("key").await.unwrap().is_none());
    assert!(cache.get::<u32>("key").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn processes_on_one_store_share_the_refresh() {
    let remote = Remote::new();
    let caches = [0, 1].map(|_| over(&remote).ttl(10 * SEC).early_refresh_after(0.5).build());
    caches[0].set("key", 0_usize).await.unwrap();
    tokio::time::advance(5 * SEC).await;
    let (gate, loads) = (Gate::closed(), Count::new());
    for cache in &caches {
        let (gate, loads) = (gate.clone(), loads.clone());
        let load = move || async move {
            gate.pass().await;
            Ok::<_, Infallible>(loads.up())
        };
        assert_eq!(*cache.get_or_load("key", load).await.unwrap(), 0);
    }
    idle().await;
    gate.open();
    idle().await;
    assert_eq!(loads.get(), 1);
    assert_eq!(*caches[1].get::<usize>("key").await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_borrows_refreshes_nothing_early() {
    let cache = local(&TokioClock::new()).ttl(10 * SEC).early_refresh_after(0.5).build();
    cache.set("key", 1_u32).await.unwrap();
    tokio::time::advance(9 * SEC).await;
    let loads = Count::new();
    let load = || async { Ok::<_, Infallible>(loads.up() as u32) };
    assert_eq!(*cache.borrowing().get_or_load("key", load).await.unwrap(), 1);
    assert_eq!(loads.get(), 0);
}

#[cached(cache = cache, skip(cache, loads), ttl = "10s", early_refresh_after = 0.5)]
async fn early(cache: &Cache, loads: &Count) -> usize {
    loads.up()
}

#[cached(cache = cache, skip(cache, loads))]
async fn as_the_cache_says(cache: &Cache, loads: &Count) -> usize {
    loads.up()
}

#[cached(cache = cache, skip(cache, loads), detached)]
async fn detached(cache: &Cache, loads: &Count) -> usize {
    loads.up()
}

#[tokio::test(start_paused = true)]
async fn functions_refresh_early_if_they_load_in_the_background() {
    let plain = local(&TokioClock::new()).build();
    let refreshing = local(&TokioClock::new()).ttl(10 * SEC).early_refresh_after(0.5).build();
    let loads = Count::new();
    early(&plain, &loads).await;
    as_the_cache_says(&refreshing, &loads).await;
    detached(&refreshing, &loads).await;
    tokio::time::advance(5 * SEC).await;
    assert_eq!(early(&plain, &loads).await, 1);
    idle().await;
    assert_eq!(loads.get(), 4);
    assert_eq!(early(&plain, &loads).await, 4);
    assert_eq!(as_the_cache_says(&refreshing, &loads).await, 2);
    idle().await;
    assert_eq!(loads.get(), 4, "its load borrows");
    assert_eq!(detached(&refreshing, &loads).await, 3);
    idle().await;
    assert_eq!(detached(&refreshing, &loads).await, 5);
}

#[tokio::test(start_paused = true)]
async fn batches_refresh_together() {
    let cache = local(&TokioClock::new()).ttl(10 * SEC).early_refresh_after(0.5).build();
    cache.set_many([("1", 0_u32), ("2", 0)]).await.unwrap();
    tokio::time::advance(5 * SEC).await;
    cache.set("3", 0_u32).await.unwrap();
    let calls: Arc<Mutex<Vec<Vec<u32>>>> = Arc::default();
    let load = {
        let calls = Arc::clone(&calls);
        move |mut ids: Vec<u32>| {
            ids.sort_unstable();
            calls.lock().unwrap().push(ids.clone());
            let loaded: LoadedMany<_, _, Infallible> = ids.into_iter().map(|id| (id, Ok(Loaded::new(id)))).collect();
            std::future::ready(Ok(loaded))
        }
    };
    let found = cache.many([1, 2, 3]).get_or_load(load).await;
    assert!(
        found
            .values()
            .all(|found| **found.as_ref().unwrap().as_ref().unwrap() == 0)
    );
    idle().await;
    assert_eq!(*calls.lock().unwrap(), [[1, 2]]);
    let fresh: Vec<_> = cache.get_many::<u32, _>(["1", "2", "3"]).await.unwrap();
    assert_eq!(
        fresh.into_iter().map(|value| *value.unwrap()).collect::<Vec<_>>(),
        [1, 2, 0]
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_gets_the_right_to_refresh() {
    for builder in caches() {
        let cache = builder.ttl(10 * SEC).early_refresh_after(0.5).build();
        let (adapter, key) = (cache.adapter(), cache.key("key"));
        cache.set("key", 1_u32).await.unwrap();
        tokio::time::advance(4 * SEC).await;
        cache.get::<u32>("key").await.unwrap();
        assert!(adapter.read_local::<u32>(&key).is_none_or(|value| *value == 1));
        tokio::time::advance(SEC).await;
        assert!(adapter.read_local::<u32>(&key).is_none(), "a lookup follows");
        let Lookup::Hit { found, refresh, .. } = adapter.lookup::<u32>(&key).await else {
            panic!("it is a hit")
        };
        assert_eq!(*found.value, 1);
        let Lookup::Hit { refresh: other, .. } = adapter.lookup::<u32>(&key).await else {
            panic!("it is a hit for all")
        };
        assert!(other.is_none(), "one caller refreshes");
        adapter.spawn_refresh(refresh.unwrap(), |fill| async move {
            let windows = cache_core::FreshnessWindows::new(10 * SEC);
            assert!(
                fill.store(Arc::new(2_u32), &cache_core::Json, windows)
                    .await
                    .is_stored()
            );
        });
        cache.settled().await;
        assert_eq!(cache.get::<u32>("key").await.unwrap().as_deref(), Some(&2));
    }
}

/// A generator of random numbers with a seed (xorshift64*).
fn seeded(seed: u64) -> impl Fn() -> f64 + Send + Sync + 'static {
    let state = Mutex::new(seed);
    move || {
        let mut state = state.lock().unwrap();
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const TTL: Duration = Duration::from_secs(1);
const LOAD: Duration = Duration::from_millis(50);
const EVERY: Duration = Duration::from_millis(10);

/// The mean time from the end of a load to the beginning of the next one, by the formula, for a request every [`EVERY`].
fn expected(beta: f64) -> f64 {
    let (mut mean, mut not_yet) = (0.0, 1.0);
    let mut age = EVERY.as_secs_f64();
    while age < TTL.as_secs_f64() - 1e-9 {
        let now = (-(TTL.as_secs_f64() - age) / (beta * LOAD.as_secs_f64())).exp();
        mean += not_yet * now * age;
        not_yet *= 1.0 - now;
        age += EVERY.as_secs_f64();
    }
    mean + not_yet * TTL.as_secs_f64()
}

/// What steady traffic leads to: the loads, the requests that waited, and the time that it took.
async fn traffic(builder: CacheBuilder, beta: f64, requests: usize) -> (usize, usize, f64) {
    let waits: Arc<Mutex<HashMap<&str, usize>>> = Arc::default();
    let noted = Arc::clone(&waits);
    let cache = builder
        .ttl(TTL)
        .early_refresh_beta(beta)
        .random(seeded(42))
        .observer(move |event: &Event<'_>| *noted.lock().unwrap().entry(event.name()).or_default() += 1)
        .build();
    let loads = Count::new();
    let begun = tokio::time::Instant::now();
    for _ in 0..requests {
        let loads = loads.clone();
        let load = move || async move {
            tokio::time::sleep(LOAD).await;
            Ok::<_, Infallible>(loads.up())
        };
        cache.get_or_load("key", load).await.unwrap();
        tokio::time::sleep(EVERY).await;
    }
    let waits = waits.lock().unwrap();
    (loads.get(), waits["miss"], begun.elapsed().as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn the_loads_are_those_of_the_formula() {
    for beta in [0.5, 1.0, 4.0] {
        let requests = 20_000;
        let (loads, misses, took) = traffic(local(&TokioClock::new()), beta, requests).await;
        // A load begins with the request that draws it, and the next lifetime with its end.
        let cycle = expected(beta) + LOAD.as_secs_f64();
        let predicted = took / cycle;
        let deviation = (loads as f64 - predicted).abs() / predicted;
        assert!(
            deviation < 0.1,
            "beta {beta}: {loads} loads, and {predicted} by the formula"
        );
        // With 4, the load begins so early that it ends before the value expires, also by chance.
        let waited = match beta {
            4.0 => 1,
            1.0 => loads / 4,
            _ => loads,
        };
        assert!(
            misses <= waited,
            "beta {beta}: {misses} requests waited for {loads} loads"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_load_is_stored_with_its_value() {
    let remote = Remote::new();
    let builder = over(&remote);
    let (loads, misses, took) = traffic(builder, 4.0, 4_000).await;
    let predicted = took / (expected(4.0) + LOAD.as_secs_f64());
    assert!(
        (loads as f64 - predicted).abs() / predicted < 0.1,
        "{loads}, {predicted}"
    );
    assert!(misses < 5, "{misses}");
}

/// The control: without early refreshes, each lifetime ends with a request that waits.
#[tokio::test(start_paused = true)]
async fn without_it_each_lifetime_ends_with_a_wait() {
    let (loads, misses, _) = traffic(local(&TokioClock::new()), 0.0, 5_000).await;
    assert_eq!(loads, misses);
    assert!(misses > 40, "{misses}");
}

#[test]
fn settings_out_of_range_are_taken_as_the_nearest_end() {
    let policy = Policy::default()
        .with_early_refresh_after(7.0)
        .with_early_refresh_beta(-1.0)
        .with_verify(7.0);
    assert_eq!(
        (policy.early_refresh_after, policy.early_refresh_beta, policy.verify),
        (Some(1.0), 0.0, 1.0)
    );
    let policy = Policy::default()
        .with_early_refresh_after(f64::NAN)
        .with_early_refresh_beta(f64::NAN)
        .with_verify(f64::NAN);
    assert_eq!(
        (policy.early_refresh_after, policy.early_refresh_beta, policy.verify),
        (None, 0.0, 0.0)
    );
}
