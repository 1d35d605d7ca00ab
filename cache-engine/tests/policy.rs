//! The lifetimes of entries.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use cache_core::ManualClock;
use cache_engine::{Cache, Policy};
use cache_memory::MemoryBackend;
use support::{Count, Gate, MS, Remote, SEC, idle, local, over};

#[tokio::test]
async fn a_value_is_fresh_for_its_ttl_to_the_millisecond() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(1500 * MS).build();
    cache.set("key", 1).await.unwrap();
    clock.advance(1499 * MS);
    assert!(cache.get::<i32>("key").await.unwrap().is_some());
    clock.advance(MS);
    assert!(cache.get::<i32>("key").await.unwrap().is_none());
}

#[tokio::test]
async fn five_minutes_unless_set_and_for_ever_if_none() {
    let clock = ManualClock::new();
    let cache = local(&clock).build();
    assert_eq!(cache.policy().ttl, Some(300 * SEC));
    cache.set("key", 1).await.unwrap();
    cache.with_ttl(None).set("for ever", 1).await.unwrap();
    clock.advance(300 * SEC);
    assert!(cache.get::<i32>("key").await.unwrap().is_none());
    clock.advance(Duration::from_secs(50 * 365 * 86400));
    assert!(cache.get::<i32>("for ever").await.unwrap().is_some());
}

#[tokio::test]
async fn a_handle_with_another_policy_leaves_the_first_as_it_was() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(SEC).build();
    let longer = cache.with_policy(Policy::new(10 * SEC));
    longer.set("long", 1).await.unwrap();
    cache.set("short", 1).await.unwrap();
    assert_eq!(cache.policy().ttl, Some(SEC));
    clock.advance(SEC);
    assert!(
        longer.get::<i32>("short").await.unwrap().is_none(),
        "what counts is how it was stored"
    );
    assert!(cache.get::<i32>("long").await.unwrap().is_some());
}

/// When `count` entries that are stored together expire, in milliseconds.
async fn lifetimes(jitter: f64, count: usize) -> Vec<u64> {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(100 * MS).jitter(jitter).build();
    for number in 0..count {
        cache.set(number.to_string(), 1).await.unwrap();
    }
    let mut lifetimes = vec![None; count];
    for millis in 0..=100 {
        for (number, lifetime) in lifetimes.iter_mut().enumerate() {
            if lifetime.is_none() && cache.get::<i32>(number.to_string()).await.unwrap().is_none() {
                *lifetime = Some(millis);
            }
        }
        clock.advance(MS);
    }
    lifetimes
        .into_iter()
        .map(|lifetime| lifetime.expect("nothing outlives its TTL"))
        .collect()
}

#[tokio::test]
async fn jitter_shortens_lifetimes_by_up_to_its_part_and_never_extends_them() {
    assert_eq!(lifetimes(0.0, 3).await, [100, 100, 100]);
    let lifetimes = lifetimes(0.5, 300).await;
    assert!(
        lifetimes.iter().all(|lifetime| (50..=100).contains(lifetime)),
        "{lifetimes:?}"
    );
    let quarters = [50..63, 63..75, 75..88, 88..101];
    for quarter in quarters {
        assert!(
            lifetimes.iter().any(|lifetime| quarter.contains(lifetime)),
            "none in {quarter:?}"
        );
    }
}

#[tokio::test]
async fn a_jitter_out_of_range_is_taken_as_the_nearer_end() {
    assert_eq!(lifetimes(-1.0, 3).await, [100, 100, 100]);
    assert_eq!(lifetimes(f64::NAN, 3).await, [100, 100, 100]);
    assert!(lifetimes(7.0, 30).await.iter().all(|lifetime| *lifetime <= 100));
    // The field can be set without the builder.
    let mut policy = Policy::new(SEC);
    policy.jitter = 7.0;
    let cache = Cache::builder(MemoryBackend::default()).policy(policy).build();
    cache.get_or_load("key", Count::new().loading(1)).await.unwrap();
}

#[tokio::test]
async fn the_longest_durations_are_no_trouble() {
    let mut policy = Policy::new(Duration::MAX).with_jitter(0.1);
    policy.stale_while_revalidate = Duration::MAX;
    policy.stale_if_error = Duration::MAX;
    policy.load_timeout = Some(Duration::MAX);
    policy.soft_timeout = Some(Duration::MAX);
    let cache = Cache::builder(MemoryBackend::default())
        .policy(policy)
        .lease_time(Duration::MAX)
        .build();
    let loads = Count::new();
    for _ in 0..2 {
        cache.get_or_load("key", loads.loading(1)).await.unwrap();
    }
    assert_eq!(loads.get(), 1);
    // A caller that takes over the load of another one.
    let gate = Gate::closed();
    let leader = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        let load = async move || {
            gate.pass().await;
            Ok::<_, Infallible>(1)
        };
        async move { cache.borrowing().get_or_load("other", load).await.map(drop) }
    });
    gate.reached().await;
    let follower = tokio::spawn({
        let (cache, loads) = (cache.clone(), loads.clone());
        async move { cache.borrowing().get_or_load("other", loads.loading(1)).await.unwrap() }
    });
    idle().await;
    leader.abort();
    assert_eq!((*follower.await.unwrap(), loads.get()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_longest_durations_over_a_store_elsewhere_are_no_trouble() {
    let cache = over(&Remote::telling())
        .backend_timeout(Duration::MAX)
        .breaker(1, Duration::MAX)
        .lease_time(Duration::MAX)
        .max_lease(Duration::MAX)
        .tag_cache_ttl(Duration::MAX)
        .near(MemoryBackend::default())
        .near_max_age(Duration::MAX)
        .near_max_silence(Duration::MAX)
        .build()
        .with_tags(["tag"]);
    let loads = Count::new();
    for _ in 0..2 {
        cache.get_or_load("key", loads.loading(1)).await.unwrap();
        idle().await;
    }
    assert_eq!(loads.get(), 1);
    cache.invalidate_tag("tag").await.unwrap();
    cache.get_or_load("key", loads.loading(1)).await.unwrap();
    assert_eq!(loads.get(), 2);
}
