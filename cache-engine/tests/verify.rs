//! Verification of hits: the value is loaded as well, and a difference is reported.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{Checked, Json};
use cache_engine::{Cache, CacheBuilder, Event, cached};
use support::{Count, Gate, Remote, SEC, TokioClock, idle, local, memory, over};

/// The keys and ages of what has diverged.
type Diverged = Arc<Mutex<Vec<(String, Duration)>>>;

fn verified<C>(builder: CacheBuilder<C>) -> (Cache<C>, Diverged) {
    let diverged = Diverged::default();
    let noted = Arc::clone(&diverged);
    let observer = move |event: &Event<'_>| {
        if let Event::Diverged { key, age, .. } = event {
            noted.lock().unwrap().push((key.name().to_owned(), *age));
        }
    };
    (builder.verify(1.0).observer(observer).build(), diverged)
}

/// A source whose value can be changed.
#[derive(Debug, Clone, Default)]
struct Source {
    value: Arc<Mutex<u32>>,
    reads: Count,
}

impl Source {
    fn change(&self) {
        *self.value.lock().unwrap() += 1;
    }

    fn read(&self) -> u32 {
        self.reads.up();
        *self.value.lock().unwrap()
    }

    async fn get(&self, cache: &Cache) -> u32 {
        let source = self.clone();
        *cache
            .get_or_load("key", || async move { Ok::<_, Infallible>(source.read()) })
            .await
            .unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_source_has_changed_is_reported_with_key_and_age() {
    let near = over(&Remote::new())
        .near(memory(TokioClock::new()))
        .near_max_age(3600 * SEC);
    for builder in [local(&TokioClock::new()), over(&Remote::new()), near] {
        let (cache, diverged) = verified(builder);
        let source = Source::default();
        source.get(&cache).await;
        source.get(&cache).await;
        idle().await;
        assert_eq!(source.reads.get(), 2);
        assert!(diverged.lock().unwrap().is_empty(), "it is the same");

        source.change();
        tokio::time::advance(7 * SEC).await;
        assert_eq!(source.get(&cache).await, 0, "the caller gets what was found");
        idle().await;
        let found = std::mem::take(&mut *diverged.lock().unwrap());
        assert_eq!((found.len(), &*found[0].0), (1, "key"));
        assert!(found[0].1 >= 7 * SEC && found[0].1 < 8 * SEC, "{found:?}");
        assert_eq!(cache.stats().total().diverged, 1);
        assert_eq!(
            cache.get::<u32>("key").await.unwrap().as_deref(),
            Some(&0),
            "what was loaded is not stored"
        );

        cache.invalidate("key").await.unwrap();
        source.get(&cache).await;
        source.get(&cache).await;
        idle().await;
        assert!(diverged.lock().unwrap().is_empty(), "it was invalidated");
        assert_eq!(cache.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_during_the_verification_is_no_divergence() {
    let (cache, diverged) = verified(over(&Remote::new()));
    cache.set("key", 0_u32).await.unwrap();
    let gate = Gate::closed();
    let load = {
        let gate = gate.clone();
        move || async move {
            gate.pass().await;
            Ok::<_, Infallible>(1_u32)
        }
    };
    cache.get_or_load("key", load).await.unwrap();
    gate.reached().await;
    cache.set("key", 1_u32).await.unwrap();
    gate.open();
    idle().await;
    assert!(diverged.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_fails_or_panics_says_nothing() {
    let (cache, diverged) = verified(local(&TokioClock::new()));
    cache.set("key", 0_u32).await.unwrap();
    let failing = || async { Err::<u32, _>("down") };
    assert_eq!(*cache.get_or_load("key", failing).await.unwrap(), 0);
    let panicking = || async { panic!("as planned") };
    assert_eq!(
        *cache
            .get_or_load::<u32, Infallible, _, _>("key", panicking)
            .await
            .unwrap(),
        0
    );
    idle().await;
    assert!(diverged.lock().unwrap().is_empty());
    let nothing = || async { Ok::<Option<u32>, Infallible>(None) };
    assert_eq!(
        cache.get_or_load_optional("key", nothing).await.unwrap().as_deref(),
        Some(&0)
    );
    idle().await;
    assert_eq!(diverged.lock().unwrap().len(), 1, "a value that is gone has diverged");
}

#[tokio::test(start_paused = true)]
async fn a_share_of_the_hits_is_verified_and_none_by_default() {
    for (share, least, most) in [(0.0, 0, 0), (0.25, 180, 320)] {
        let numbers = Mutex::new(0_u32);
        let random = move || {
            let mut number = numbers.lock().unwrap();
            *number = (*number + 37) % 100;
            f64::from(*number) / 100.0
        };
        let cache = local(&TokioClock::new()).ttl(None).verify(share).random(random).build();
        let source = Source::default();
        source.get(&cache).await;
        for _ in 0..1000 {
            source.get(&cache).await;
            idle().await;
        }
        let verified = source.reads.get() - 1;
        assert!((least..=most).contains(&verified), "{verified} of 1000 with {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn verifications_are_bounded() {
    let (cache, _) = verified(local(&TokioClock::new()));
    cache.set("key", 0_u32).await.unwrap();
    let (gate, loads) = (Gate::closed(), Count::new());
    for _ in 0..100 {
        let (gate, loads) = (gate.clone(), loads.clone());
        let load = move || async move {
            loads.up();
            gate.pass().await;
            Ok::<_, Infallible>(0_u32)
        };
        cache.get_or_load("key", load).await.unwrap();
    }
    idle().await;
    assert_eq!(loads.get(), 16);
    gate.open();
    cache.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn borrowing_loads_and_batches_are_verified_too() {
    let (cache, diverged) = verified(local(&TokioClock::new()));
    for id in ["1", "2", "3"] {
        cache.set(id, 0_u32).await.unwrap();
    }
    let one = 1_u32;
    let load = || async { Ok::<_, Infallible>(one) };
    assert_eq!(*cache.borrowing().get_or_load("1", load).await.unwrap(), 0);
    assert_eq!(diverged.lock().unwrap()[0].0, "1");

    let load = |ids: Vec<u32>| async move {
        let value = |id: &u32| u32::from(*id == 2);
        Ok::<_, Infallible>(ids.iter().map(|id| (*id, value(id))).collect::<HashMap<_, _>>())
    };
    let found = cache.get_or_load_many([2, 3], load).await.unwrap();
    assert_eq!((*found[&2], *found[&3]), (0, 0));
    idle().await;
    assert_eq!(diverged.lock().unwrap()[1].0, "2");
    assert_eq!(diverged.lock().unwrap().len(), 2);
}

#[cached(cache = cache, key = "own", verify = 1.0)]
async fn own(cache: &Cache, source: &Source) -> u32 {
    source.read()
}

#[cached(cache = cache, key = "plain")]
async fn plain(cache: &Cache, source: &Source) -> Result<Option<u32>, String> {
    Ok(Some(inner(cache, source).await))
}

#[cached(cache = cache, key = "inner")]
async fn inner(cache: &Cache, source: &Source) -> u32 {
    source.read()
}

#[cached(cache = cache, key = "detached", detached)]
async fn detached(cache: &Cache, source: &Source) -> u32 {
    source.read()
}

#[tokio::test(start_paused = true)]
async fn functions_are_verified_past_the_entries_that_they_use() {
    let (cache, diverged) = verified(local(&TokioClock::new()));
    let source = Source::default();
    plain(&cache, &source).await.unwrap();
    own(&cache, &source).await;
    detached(&cache, &source).await;
    source.change();
    assert_eq!(plain(&cache, &source).await, Ok(Some(0)));
    assert_eq!(own(&cache, &source).await, 0);
    assert_eq!(detached(&cache, &source).await, 0);
    idle().await;
    let mut keys: Vec<_> = diverged.lock().unwrap().iter().map(|(key, _)| key.clone()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["detached", "own", "plain"],
        "the entry `inner` does not hide the change"
    );
}

#[tokio::test(start_paused = true)]
async fn maps_in_another_order_are_the_same() {
    let (cache, diverged) = verified(local(&TokioClock::new()));
    let map = || async { Ok::<_, Infallible>((0..50).map(|n| (n.to_string(), n)).collect::<HashMap<String, u32>>()) };
    for _ in 0..10 {
        cache.get_or_load("map", map).await.unwrap();
        idle().await;
    }
    let set = || async { Ok::<_, Infallible>((0..50).collect::<std::collections::HashSet<u32>>()) };
    let checked = cache.with_coder(Checked(Json));
    for _ in 0..10 {
        checked.get_or_load("set", set).await.unwrap();
        idle().await;
    }
    assert!(diverged.lock().unwrap().is_empty());
}

/// How the guide finds a missing tag.
#[tokio::test(start_paused = true)]
async fn a_missing_tag_is_found() {
    #[cached(cache = cache, key = "order/{id}", tags = ["order:{id}"])]
    async fn order(cache: &Cache, source: &Source, id: u32) -> String {
        // The page also shows the customer, whose tag is missing.
        format!("order {id} of customer {}", source.read())
    }

    let (cache, diverged) = verified(local(&TokioClock::new()));
    let source = Source::default();
    order(&cache, &source, 7).await;
    source.change();
    cache.invalidate_tag("customer:1").await.unwrap();
    order(&cache, &source, 7).await;
    assert_eq!(diverged.lock().unwrap()[0].0, "order/7");
}
