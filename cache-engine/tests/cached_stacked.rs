//! Cached functions within cached functions: freshness and tags travel up.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use cache_core::ManualClock;
use cache_engine::{Cache, cached};
use support::{Count, Gate, MS, SEC, idle, local};

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct How {
    is_down: bool,
    is_bypassed: bool,
}

#[cached(cache = cache, key = "part", ttl = "10s", stale_if_error = "1h", tags = ["part"], unless = how.is_bypassed)]
async fn part(cache: &Cache, how: How) -> Result<u32, &'static str> {
    if how.is_down { Err("down") } else { Ok(1) }
}

#[cached(cache = cache, key = "detached", ttl = "10s", stale_while_revalidate = "1h", tags = ["part"])]
async fn detached(cache: &Cache) -> u32 {
    1
}

#[cached(cache = cache, key = "looked-up", ttl = "10s", tags = ["part"], contributes = false)]
async fn looked_up(cache: &Cache) -> u32 {
    1
}

/// Which function a value is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Made {
    Part(How),
    Detached,
    LookedUp,
}

#[cached(cache = cache, key = "whole", ttl = "60s")]
async fn whole(cache: &Cache, from: Made, loads: &Count) -> u32 {
    loads.up();
    match from {
        Made::Part(how) => part(cache, how).await.unwrap(),
        Made::Detached => detached(cache).await,
        Made::LookedUp => looked_up(cache).await,
    }
}

const PART: Made = Made::Part(How {
    is_down: false,
    is_bypassed: false,
});

#[tokio::test]
async fn the_tags_of_a_function_travel_up() {
    let bypassed = Made::Part(How {
        is_bypassed: true,
        ..How::default()
    });
    for (from, travels) in [
        (PART, true),
        (bypassed, true),
        (Made::Detached, true),
        (Made::LookedUp, false),
    ] {
        let (cache, loads) = (local(&ManualClock::new()).build(), Count::new());
        for round in 0..2 {
            whole(&cache, from, &loads).await;
            whole(&cache, from, &loads).await;
            assert_eq!(loads.get(), 1 + if travels { round } else { 0 });
            cache.invalidate_tag("another").await.unwrap();
            whole(&cache, from, &loads).await;
            assert_eq!(loads.get(), 1 + if travels { round } else { 0 });
            cache.invalidate_tag("part").await.unwrap();
            if round == 0 {
                // The part is a hit in the next round.
                part(&cache, How::default()).await.unwrap();
                detached(&cache).await;
                looked_up(&cache).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_is_fresh_no_longer_than_one_that_it_calls() {
    for (from, travels) in [(PART, true), (Made::Detached, true), (Made::LookedUp, false)] {
        let clock = ManualClock::new();
        let (cache, loads) = (local(&clock).build(), Count::new());
        whole(&cache, from, &loads).await;
        clock.advance(10 * SEC - MS);
        whole(&cache, from, &loads).await;
        assert_eq!(loads.get(), 1);
        clock.advance(MS);
        whole(&cache, from, &loads).await;
        assert_eq!(loads.get(), 1 + usize::from(travels), "{from:?}");
    }
}

#[tokio::test]
async fn a_stale_result_makes_no_fresh_one() {
    let clock = ManualClock::new();
    let (cache, loads) = (local(&clock).build(), Count::new());
    let down = Made::Part(How {
        is_down: true,
        ..How::default()
    });
    part(&cache, How::default()).await.unwrap();
    clock.advance(20 * SEC);
    for load in 1..3 {
        assert_eq!(whole(&cache, down, &loads).await, 1);
        assert_eq!(loads.get(), load, "not stored");
    }
    whole(&cache, PART, &loads).await;
    whole(&cache, PART, &loads).await;
    assert_eq!(loads.get(), 3, "stored");
}

/// The refresh in the background does not count for the value that was made from the stale result.
#[tokio::test]
async fn a_result_that_is_being_refreshed_makes_no_fresh_one() {
    let clock = ManualClock::new();
    let (cache, loads) = (local(&clock).build(), Count::new());
    detached(&cache).await;
    clock.advance(20 * SEC);
    whole(&cache, Made::Detached, &loads).await;
    idle().await;
    for _ in 0..2 {
        whole(&cache, Made::Detached, &loads).await;
        assert_eq!(loads.get(), 2);
    }
}

#[cached(cache = cache, key = "slow", ttl = "10s", tags = ["part"])]
async fn slow(cache: &Cache, gate: &Gate) -> u32 {
    gate.pass().await;
    1
}

#[cached(cache = cache, key = "{name}", ttl = "60s")]
async fn waits(cache: &Cache, name: &str, gate: &Gate) -> u32 {
    slow(cache, gate).await
}

/// Functions that wait for the same one all get its tags.
#[tokio::test]
async fn all_that_wait_for_a_function_get_its_tags() {
    let cache = local(&ManualClock::new()).build();
    let gate = Gate::closed();
    let ask = |name: &'static str| {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move { waits(&cache, name, &gate).await })
    };
    let asking = [ask("one"), ask("two"), ask("three")];
    gate.reached().await;
    idle().await;
    gate.open();
    for asking in asking {
        asking.await.unwrap();
    }
    for name in ["one", "two", "three"] {
        assert!(cache.get::<u32>(name).await.unwrap().is_some());
    }
    cache.invalidate_tag("part").await.unwrap();
    for name in ["one", "two", "three"] {
        assert!(cache.get::<u32>(name).await.unwrap().is_none(), "{name}");
    }
}
