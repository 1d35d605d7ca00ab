//! A load that requests what waits for it gets an error instead of a deadlock.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::time::Duration;

use cache_engine::{Cache, LoadError};
use cache_memory::MemoryBackend;
use support::{Gate, SEC};

type Answer = Result<String, LoadError<String>>;
type Boxed = Pin<Box<dyn Future<Output = Answer> + Send>>;

fn cache() -> Cache {
    Cache::builder(MemoryBackend::default()).build()
}

/// A deadlock ends the test instead of hanging it; the paused clock makes that immediate.
async fn in_time<F: Future>(work: F) -> F::Output {
    let limit = tokio::time::timeout(Duration::from_secs(3600), work);
    limit.await.expect("nobody waits for ever")
}

fn is_circular(answer: &Answer) -> bool {
    matches!(answer, Err(LoadError::Circular(_)))
}

fn text(answer: Result<std::sync::Arc<String>, LoadError<String>>) -> Answer {
    answer.map(|value| value.to_string())
}

/// Loads `key` by way of `next`; what went wrong there becomes the error.
async fn owned(cache: &Cache, key: &'static str, next: impl Future<Output = Answer> + Send + 'static) -> Answer {
    let load = || async move { next.await.map_err(|error| format!("{error:?}")) };
    text(cache.get_or_load(key, load).await)
}

async fn borrowing(cache: &Cache, key: &'static str, next: impl Future<Output = Answer>) -> Answer {
    let load = || async { next.await.map_err(|error| format!("{error:?}")) };
    text(cache.borrowing().get_or_load(key, load).await)
}

fn value() -> Ready<Answer> {
    ready(Ok("value".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_load_that_asks_for_its_own_key_is_told_so() {
    let cache = cache();
    let inner = cache.clone();
    let answer = in_time(owned(&cache, "a", async move {
        let inner = owned(&inner, "a", value()).await;
        assert!(is_circular(&inner), "{inner:?}");
        inner
    }));
    let error = answer.await.unwrap_err();
    assert!(error.loader_error().unwrap().contains("Circular"), "{error:?}");
    assert_eq!(cache.in_flight(), 0);
    assert_eq!(
        owned(&cache, "a", value()).await.unwrap(),
        "value",
        "the key is as good as ever"
    );
    let counted = cache.stats().total();
    assert_eq!((counted.requests(), counted.misses), (3, 3), "each is counted");
}

#[tokio::test(start_paused = true)]
async fn so_is_a_borrowing_load() {
    let cache = cache();
    let inner = in_time(borrowing(&cache, "a", async {
        let inner = borrowing(&cache, "a", value()).await;
        assert!(is_circular(&inner), "{inner:?}");
        Ok("got over it".to_owned())
    }));
    assert_eq!(inner.await.unwrap(), "got over it");
    assert_eq!(cache.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn so_is_a_load_that_comes_back_to_its_key_by_others() {
    for kinds in 0..8 {
        let cache = cache();
        let handles = [cache.clone(), cache.clone(), cache.clone()];
        let [first, second, third] = handles;
        let is_owned = move |level: u8| kinds & (1 << level) != 0;
        let innermost = Box::pin(async move {
            let answer = if is_owned(2) {
                owned(&third, "a", value()).await
            } else {
                borrowing(&third, "a", value()).await
            };
            assert!(is_circular(&answer), "{answer:?}");
            value().await
        });
        let middle = Box::pin(async move {
            if is_owned(1) {
                owned(&second, "b", innermost).await
            } else {
                borrowing(&second, "b", innermost).await
            }
        });
        let outermost = async {
            if is_owned(0) {
                owned(&first, "a", middle).await
            } else {
                borrowing(&first, "a", middle).await
            }
        };
        assert_eq!(in_time(outermost).await.unwrap(), "value");
        assert_eq!(cache.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn two_loads_that_ask_for_each_other_do_not_wait_for_ever() {
    for kinds in 0..16 {
        let cache = cache();
        let is_owned = move |bit: u8| kinds & (1 << bit) != 0;
        let run = |own: &'static str, other: &'static str, bit: u8, mine: Gate, theirs: Gate| {
            let cache = cache.clone();
            let inner = cache.clone();
            let next = async move {
                mine.open();
                theirs.pass().await;
                if is_owned(bit + 1) {
                    owned(&inner, other, value()).await
                } else {
                    borrowing(&inner, other, value()).await
                }
            };
            async move {
                if is_owned(bit) {
                    owned(&cache, own, next).await
                } else {
                    borrowing(&cache, own, next).await
                }
            }
        };
        let (a, b) = (Gate::closed(), Gate::closed());
        let first = tokio::spawn(run("a", "b", 0, a.clone(), b.clone()));
        let second = tokio::spawn(run("b", "a", 2, b, a));
        let (first, second) = in_time(async { (first.await.unwrap(), second.await.unwrap()) }).await;
        for answer in [&first, &second] {
            let error = answer.as_ref().unwrap_err().to_string();
            assert!(error.contains("Circular"), "{error}");
        }
        assert_eq!(cache.in_flight(), 0);
    }
}

/// The load of `a` runs that of `b` inside it; `b` waits for `c`, which another task loads, and `c` asks for `a`.
#[tokio::test(start_paused = true)]
async fn a_circle_through_a_load_inside_a_load_is_found() {
    for kinds in 0..16_u8 {
        let cache = cache();
        let get = |is_owned: bool, key: &'static str, next: Boxed| -> Boxed {
            let cache = cache.clone();
            Box::pin(async move {
                if is_owned {
                    owned(&cache, key, next).await
                } else {
                    borrowing(&cache, key, next).await
                }
            })
        };
        let is_owned = |bit: u8| kinds & (1 << bit) != 0;
        let (a_is_loading, c_is_loading) = (Gate::closed(), Gate::closed());
        let from_b = get(is_owned(3), "c", Box::pin(value()));
        let b = get(is_owned(0), "b", {
            let (opened, awaited) = (a_is_loading.clone(), c_is_loading.clone());
            Box::pin(async move {
                opened.open();
                awaited.pass().await;
                from_b.await
            })
        });
        let a = get(is_owned(1), "a", b);
        let from_c = get(true, "a", Box::pin(value()));
        let c = get(is_owned(2), "c", {
            Box::pin(async move {
                c_is_loading.open();
                a_is_loading.pass().await;
                // The load of b waits for this one by now.
                support::idle().await;
                from_c.await
            })
        });
        let (a, c) = (tokio::spawn(a), tokio::spawn(c));
        let (a, c) = in_time(async { (a.await.unwrap(), c.await.unwrap()) }).await;
        assert!(a.is_err() && c.is_err(), "{kinds:04b}: {a:?} {c:?}");
        assert_eq!(cache.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn so_is_one_through_a_batch_inside_a_load() {
    let cache = cache();
    let (a_is_loading, c_is_loading) = (Gate::closed(), Gate::closed());
    let b = {
        let (cache, opened, awaited) = (cache.clone(), a_is_loading.clone(), c_is_loading.clone());
        let load = {
            let cache = cache.clone();
            move |_: Vec<&'static str>| {
                let (cache, opened, awaited) = (cache.clone(), opened.clone(), awaited.clone());
                async move {
                    opened.open();
                    awaited.pass().await;
                    let c = owned(&cache, "c", value()).await;
                    c.map(|c| HashMap::from([("b", c)]))
                        .map_err(|error| format!("{error:?}"))
                }
            }
        };
        async move {
            text(
                cache
                    .get_or_load_many(["b"], load)
                    .await
                    .map(|mut values| values.remove("b").unwrap()),
            )
        }
    };
    let a = tokio::spawn({
        let cache = cache.clone();
        async move { owned(&cache, "a", b).await }
    });
    let c = tokio::spawn({
        let (cache, inner) = (cache.clone(), cache.clone());
        let next = async move {
            c_is_loading.open();
            a_is_loading.pass().await;
            support::idle().await;
            owned(&inner, "a", value()).await
        };
        async move { owned(&cache, "c", next).await }
    });
    let (a, c) = in_time(async { (a.await.unwrap(), c.await.unwrap()) }).await;
    assert!(a.is_err() && c.is_err(), "{a:?} {c:?}");
    assert_eq!(cache.in_flight(), 0);
}

/// The flights of two caches have nothing to do with each other, so a load in one that waits for a load in the other
/// is no circle.
#[tokio::test(start_paused = true)]
async fn a_load_may_wait_for_a_load_of_another_cache() {
    let (outer, inner) = (cache(), cache());
    let gate = Gate::closed();
    // The first load of each cache.
    let held = tokio::spawn({
        let (inner, gate) = (inner.clone(), gate.clone());
        async move {
            owned(&inner, "shared", async move {
                gate.pass().await;
                value().await
            })
            .await
        }
    });
    gate.reached().await;
    let nested = tokio::spawn({
        let inner = inner.clone();
        async move { owned(&outer, "page", async move { owned(&inner, "shared", value()).await }).await }
    });
    support::idle().await;
    gate.open();
    assert_eq!(in_time(nested).await.unwrap().unwrap(), "value");
    assert_eq!(held.await.unwrap().unwrap(), "value");
}

#[tokio::test(start_paused = true)]
async fn a_load_may_read_its_own_key_while_the_old_value_is_fresh() {
    let cache = cache();
    cache.set("a", "old".to_owned()).await.unwrap();
    let inner = cache.clone();
    let load = || async move {
        let old = owned(&inner, "a", value()).await.unwrap();
        Ok::<_, String>(format!("after {old}"))
    };
    assert_eq!(*in_time(cache.refresh("a", load)).await.unwrap(), "after old");
}

#[tokio::test(start_paused = true)]
async fn a_load_limit_ends_what_no_chain_shows() {
    // A task that a load spawns is not known to be part of it.
    let cache = Cache::builder(MemoryBackend::default()).load_timeout(SEC).build();
    let inner = cache.clone();
    let answer = in_time(owned(&cache, "a", async move {
        tokio::spawn(async move { owned(&inner, "a", value()).await })
            .await
            .unwrap()
    }));
    assert!(matches!(answer.await, Err(LoadError::TimedOut(SEC))));
    support::idle().await;
    assert_eq!(cache.in_flight(), 0);
}
