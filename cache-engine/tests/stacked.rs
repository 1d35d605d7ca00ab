//! A value is fresh no longer than the entries that it is made from, and stale if one of them is.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;

use cache_core::{Clock, ErrorKind, ManualClock, Timestamp};
use cache_engine::{Cache, Policy};
use support::{Count, Fate, Gate, MS, Remote, SEC, TokioClock, idle, local, memory, over};

/// Loads "outer" with what `made` returns, unless it is fresh.
async fn outer<F>(cache: &Cache, made: impl FnOnce(Cache) -> F + Send + 'static) -> u32
where
    F: Future<Output = u32> + Send + 'static,
{
    let of_load = cache.with_namespace("inner");
    let load = move || async move { Ok::<_, Infallible>(made(of_load).await) };
    *cache.get_or_load("outer", load).await.unwrap()
}

async fn is_fresh(cache: &Cache) -> bool {
    cache.get::<u32>("outer").await.unwrap().is_some()
}

async fn inner(cache: &Cache, value: u32) -> u32 {
    *cache.get_or_load("inner", Count::new().loading(value)).await.unwrap()
}

fn down() -> impl Future<Output = Result<u32, &'static str>> + Send {
    std::future::ready(Err("down"))
}

#[tokio::test(start_paused = true)]
async fn a_value_is_fresh_no_longer_than_its_part() {
    for contributes in [true, false] {
        for age in [0, 4] {
            let clock = ManualClock::new();
            let cache = local(&clock).ttl(60 * SEC).build();
            let part = move |cache: &Cache| {
                let policy = Policy::new(10 * SEC).with_contributes(contributes);
                cache.with_policy(policy)
            };
            if age > 0 {
                inner(&part(&cache.with_namespace("inner")), 1).await;
                clock.advance(age * SEC);
            }
            outer(&cache, move |cache| async move { inner(&part(&cache), 1).await }).await;
            clock.advance((10 - age) * SEC - MS);
            assert!(is_fresh(&cache).await);
            clock.advance(MS);
            assert_eq!(is_fresh(&cache).await, !contributes);
        }
    }
}

/// The clock is set back during the load, so by the clock alone the part would be fresh for another hour.
#[tokio::test(start_paused = true)]
async fn a_part_grows_old_during_the_load_whatever_the_clock_does() {
    for passed in [5, 11] {
        let clock = ManualClock::new();
        let cache = local(&clock).ttl(600 * SEC).build();
        let of_load = clock.clone();
        let made = move |cache: Cache| async move {
            let value = inner(&cache.with_ttl(10 * SEC), 1).await;
            of_load.set(Timestamp::from_millis(of_load.now().as_millis() - 3_600_000));
            tokio::time::advance(passed * SEC).await;
            value
        };
        outer(&cache, made).await;
        assert_eq!(is_fresh(&cache).await, passed < 10, "after {passed} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_lives_longer_does_not_prolong_the_value() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(10 * SEC).build();
    outer(&cache, |cache| async move { inner(&cache.with_ttl(None), 1).await }).await;
    clock.advance(10 * SEC - MS);
    assert!(is_fresh(&cache).await);
    clock.advance(MS);
    assert!(!is_fresh(&cache).await);
}

/// The source is down, so the part is stale. The value is not stored as fresh for a whole lifetime.
#[tokio::test]
async fn a_stale_part_makes_the_whole_stale() {
    for window in [0, 60] {
        let clock = ManualClock::new();
        let cache = local(&clock).ttl(10 * SEC).build();
        let robust = |cache: &Cache| cache.with_policy(Policy::new(SEC).with_stale_if_error(600 * SEC));
        let made = move |cache: Cache| async move { *robust(&cache).get_or_load("inner", down).await.unwrap() };
        inner(&robust(&cache.with_namespace("inner")), 1).await;
        clock.advance(2 * SEC);
        let pages = cache.policy_with(|policy| policy.with_stale_while_revalidate(window * SEC));
        assert_eq!(outer(&pages, made).await, 1);
        assert!(!is_fresh(&pages).await);
        // The source is up again, and so is the value at once, or after one refresh.
        let made = move |cache: Cache| async move { inner(&robust(&cache), 2).await };
        let first = outer(&pages, made).await;
        assert_eq!(first, if window > 0 { 1 } else { 2 });
        idle().await;
        assert_eq!(outer(&pages, made).await, 2);
        assert!(is_fresh(&pages).await);
    }
}

/// The part's own refresh, in the background, contributes to nothing.
#[tokio::test]
async fn a_part_that_is_revalidated_makes_the_whole_stale() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(10 * SEC).build();
    let gate = Gate::closed();
    let part = |cache: &Cache| cache.with_policy(Policy::new(SEC).with_stale_while_revalidate(600 * SEC));
    inner(&part(&cache.with_namespace("inner")), 1).await;
    clock.advance(2 * SEC);
    let of_load = gate.clone();
    let made = move |cache: Cache| async move {
        let load = move || async move {
            of_load.pass().await;
            Ok::<_, Infallible>(2_u32)
        };
        *part(&cache).get_or_load("inner", load).await.unwrap()
    };
    assert_eq!(outer(&cache, made).await, 1);
    assert!(!is_fresh(&cache).await);
    gate.reached().await;
    gate.open();
    idle().await;
    assert_eq!(
        outer(&cache, move |cache| async move { inner(&part(&cache), 3).await }).await,
        2
    );
    assert!(is_fresh(&cache).await);
}

#[tokio::test]
async fn a_softly_invalidated_part_makes_the_whole_stale() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(10 * SEC).stale_if_error(600 * SEC).build();
    let parts = cache.with_namespace("inner").with_tags(["tag"]);
    inner(&parts, 1).await;
    cache.soft().invalidate_tag("tag").await.unwrap();
    let made = |cache: Cache| async move { *cache.with_tags(["tag"]).get_or_load("inner", down).await.unwrap() };
    assert_eq!(outer(&cache, made).await, 1);
    assert!(!is_fresh(&cache).await);
}

/// A soft invalidation of a part's tag makes the value stale, not unusable.
#[tokio::test]
async fn a_soft_invalidation_travels_up_as_a_soft_one() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(10 * SEC).stale_if_error(600 * SEC).build();
    outer(&cache, |cache| async move { inner(&cache.with_tags(["tag"]), 1).await }).await;
    assert!(is_fresh(&cache).await);
    cache.soft().invalidate_tag("tag").await.unwrap();
    assert!(!is_fresh(&cache).await);
    assert_eq!(*cache.get_or_load("outer", down).await.unwrap(), 1);
}

/// A caller that waits for a part which turns out stale has a stale value, too.
#[tokio::test]
async fn a_stale_part_is_stale_for_all_that_wait_for_it() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(10 * SEC).build();
    let robust = |cache: &Cache| cache.with_policy(Policy::new(SEC).with_stale_if_error(600 * SEC));
    inner(&robust(&cache), 1).await;
    clock.advance(2 * SEC);
    let gate = Gate::closed();
    let wait = |name: &'static str| {
        let (cache, gate) = (cache.clone(), gate.clone());
        let of_load = cache.clone();
        let load = move || async move {
            let load = move || async move {
                gate.pass().await;
                down().await
            };
            robust(&of_load).get_or_load("inner", load).await.map(|value| *value)
        };
        tokio::spawn(async move { cache.get_or_load(name, load).await.map(drop) })
    };
    let leading = wait("one");
    gate.reached().await;
    let waiting = wait("two");
    idle().await;
    gate.open();
    assert!(leading.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
    for name in ["one", "two"] {
        assert!(cache.get::<u32>(name).await.unwrap().is_none(), "{name}");
    }
}

/// So it is if the part was softly invalidated: all that wait for the value get it from one load.
#[tokio::test]
async fn a_softly_invalidated_part_is_shared_by_all_that_wait_for_the_whole() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(10 * SEC).stale_if_error(600 * SEC).build();
    let part = cache.with_namespace("inner").with_tags(["tag"]);
    inner(&part, 1).await;
    cache.soft().invalidate_tag("tag").await.unwrap();
    let (gate, loads) = (Gate::closed(), Count::new());
    let ask = || {
        let (cache, part, gate, loads) = (cache.clone(), part.clone(), gate.clone(), loads.clone());
        let load = move || async move {
            loads.up();
            gate.pass().await;
            part.get_or_load("inner", down).await.map(|value| *value)
        };
        tokio::spawn(async move { cache.get_or_load("outer", load).await.map(|value| *value) })
    };
    let asking = [ask(), ask(), ask()];
    gate.reached().await;
    idle().await;
    gate.open();
    for asking in asking {
        assert_eq!(asking.await.unwrap().unwrap(), 1);
    }
    assert_eq!(loads.get(), 1);
}

/// After the soft timeout, the caller has a stale value.
#[tokio::test(start_paused = true)]
async fn a_part_after_its_soft_timeout_is_stale() {
    let clock = TokioClock::new();
    let cache = local(&clock).ttl(10 * SEC).build();
    let robust = |cache: &Cache| {
        let policy = Policy::new(SEC).with_stale_if_error(600 * SEC);
        cache.with_policy(policy.with_soft_timeout(100 * MS))
    };
    inner(&robust(&cache.with_namespace("inner")), 1).await;
    tokio::time::advance(2 * SEC).await;
    let made = move |cache: Cache| async move {
        let load = || async {
            tokio::time::sleep(SEC).await;
            Ok::<_, Infallible>(2_u32)
        };
        *robust(&cache).get_or_load("inner", load).await.unwrap()
    };
    assert_eq!(outer(&cache, made).await, 1);
    assert!(!is_fresh(&cache).await);
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_value_is_a_part_for_as_long_as_it_is_remembered() {
    for (remembered, fresh_for) in [(Some(5), 5), (None, 20)] {
        let clock = ManualClock::new();
        let cache = local(&clock).ttl(60 * SEC).build();
        let made = move |cache: Cache| async move {
            let policy = Policy::new(20 * SEC).with_negative_ttl(remembered.map(|seconds| seconds * SEC));
            let find = || async { Ok::<_, Infallible>(None::<u32>) };
            let found = cache.with_policy(policy).get_or_load_optional("inner", find).await;
            found.unwrap().map_or(0, |value| *value)
        };
        outer(&cache, made).await;
        clock.advance(fresh_for * SEC - MS);
        assert!(is_fresh(&cache).await);
        clock.advance(MS);
        assert!(!is_fresh(&cache).await);
        // As a hit it has the rest of its time.
        outer(&cache, made).await;
        if remembered.is_some() {
            cache.delete("outer").await.unwrap();
            clock.advance(2 * SEC);
            outer(&cache, made).await;
            clock.advance(3 * SEC);
            assert!(!is_fresh(&cache).await);
        }
    }
}

/// A value that goes without a part, since its load failed, is not fresh for a whole lifetime.
#[tokio::test(start_paused = true)]
async fn an_error_is_a_part_for_as_long_as_it_is_remembered() {
    for (remembered, fresh_for) in [(None, 0), (Some(5), 5)] {
        let clock = ManualClock::new();
        let cache = local(&clock).ttl(60 * SEC).build();
        let made = move |cache: Cache| async move {
            let policy = Policy::new(20 * SEC).with_error_ttl(remembered.map(|seconds| seconds * SEC));
            let found = cache.with_policy(policy).get_or_load("inner", down).await;
            found.map_or(0, |value| *value)
        };
        outer(&cache, made).await;
        if fresh_for > 0 {
            clock.advance(fresh_for * SEC - MS);
            assert!(is_fresh(&cache).await);
            clock.advance(MS);
        }
        assert!(!is_fresh(&cache).await);
    }
}

/// A value that the loader does not want stored does not get into another entry either.
#[tokio::test]
async fn a_value_that_is_not_to_be_stored_makes_the_whole_stale() {
    let cache = local(&ManualClock::new()).build();
    for stored in [true, false] {
        let made = move |cache: Cache| async move {
            let load = move |_| async move {
                let loaded = cache_engine::Loaded::new(1_u32);
                Ok::<_, Infallible>(if stored { loaded } else { loaded.do_not_store() })
            };
            *cache.get_or_load_with("inner", load).await.unwrap().unwrap()
        };
        outer(&cache, made).await;
        assert_eq!(is_fresh(&cache).await, stored);
        cache.clear_all().await.unwrap();
    }
}

/// The part was loaded while its store was down, and is as fresh as any other.
#[tokio::test(start_paused = true)]
async fn a_part_without_its_store_has_its_lifetime() {
    let (there, clock) = (Remote::new(), TokioClock::new());
    let cache = local(&clock).ttl(60 * SEC).build();
    let another = over(&there).ttl(10 * SEC).build();
    there.always(Fate::Fail(ErrorKind::Unavailable));
    outer(&cache, move |_| async move { inner(&another, 1).await }).await;
    tokio::time::advance(10 * SEC - MS).await;
    assert!(is_fresh(&cache).await);
    tokio::time::advance(MS).await;
    assert!(!is_fresh(&cache).await);
}

#[tokio::test(start_paused = true)]
async fn a_near_copy_is_a_part_for_the_rest_of_its_lifetime() {
    let remote = Remote::new();
    let cache = over(&remote)
        .near(memory(TokioClock::new()))
        .near_max_age(600 * SEC)
        .ttl(60 * SEC)
        .build();
    let part = |cache: &Cache| cache.with_ttl(10 * SEC);
    inner(&part(&cache.with_namespace("inner")), 1).await;
    tokio::time::advance(4 * SEC).await;
    remote.take_calls();
    inner(&part(&cache.with_namespace("inner")), 1).await;
    assert!(remote.take_calls().is_empty(), "a near copy");
    outer(&cache, move |cache| async move { inner(&part(&cache), 1).await }).await;
    tokio::time::advance(6 * SEC - MS).await;
    assert!(is_fresh(&cache).await);
    tokio::time::advance(MS).await;
    assert!(!is_fresh(&cache).await);
}

/// A batch is limited by what its loader used.
#[tokio::test(start_paused = true)]
async fn all_values_of_a_batch_have_its_parts() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(60 * SEC).build();
    let parts = cache.with_namespace("inner").with_ttl(10 * SEC);
    let load = move |ids: Vec<u32>| {
        let parts = parts.clone();
        async move {
            inner(&parts, 1).await;
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect())
        }
    };
    cache.get_or_load_many([1, 2], load).await.unwrap();
    clock.advance(10 * SEC - MS);
    assert!(cache.get::<u32>("1").await.unwrap().is_some());
    clock.advance(MS);
    assert!(cache.get::<u32>("1").await.unwrap().is_none());
    assert!(cache.get::<u32>("2").await.unwrap().is_none());
}
