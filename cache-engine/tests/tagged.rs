//! `tagged`: a load adds tags without being passed a tagger.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};

use cache_core::ManualClock;
use cache_engine::{Cache, Tagger, tagged};
use support::{Count, Gate, Remote, idle, local, over};

fn cache() -> Cache {
    local(&ManualClock::new()).build()
}

async fn has(cache: &Cache, key: &str) -> bool {
    cache.get::<u32>(key).await.unwrap().is_some()
}

fn give(value: u32) -> Ready<Result<u32, Infallible>> {
    ready(Ok(value))
}

#[tokio::test]
async fn owned_and_borrowing_loads_are_found() {
    let cache = cache();
    cache.get_or_load("owned", || tagged(["t"], || give(1))).await.unwrap();
    let value = 2;
    let borrowed = &value;
    let load = || tagged(["t"], || give(*borrowed));
    cache.borrowing().get_or_load("borrowing", load).await.unwrap();
    cache.refresh("refreshed", || tagged(["t"], || give(3))).await.unwrap();
    cache.get_or_load("other", || give(4)).await.unwrap();
    cache.invalidate_tag("t").await.unwrap();
    for (key, kept) in [
        ("owned", false),
        ("borrowing", false),
        ("refreshed", false),
        ("other", true),
    ] {
        assert_eq!(has(&cache, key).await, kept, "{key}");
    }
}

#[tokio::test]
async fn a_batch_gives_its_tags_to_each_of_its_values() {
    let cache = cache();
    let load = |ids: Vec<u32>| async move {
        let values: HashMap<u32, u32> = ids.into_iter().map(|id| (id, id)).collect();
        tagged(["batch"], || async { Ok::<_, Infallible>(values) }).await
    };
    cache.get_or_load_many([1, 2], load).await.unwrap();
    assert!(has(&cache, "1").await && has(&cache, "2").await);
    cache.invalidate_tag("batch").await.unwrap();
    assert!(!has(&cache, "1").await && !has(&cache, "2").await);
}

/// The loads around it get them as well, unless they only look something up in it.
#[tokio::test]
async fn the_innermost_load_gets_the_tags() {
    for contributes in [true, false] {
        let cache = cache();
        let inner = cache.policy_with(|policy| policy.with_contributes(contributes));
        let outer = move || async move {
            let one = inner
                .get_or_load("inner", || tagged(["of inner"], || give(1)))
                .await
                .unwrap();
            let two = inner
                .borrowing()
                .get_or_load("borrowing", || tagged(["of inner"], || give(1)))
                .await
                .unwrap();
            tagged(["of outer"], || give(*one + *two)).await
        };
        cache.get_or_load("outer", outer).await.unwrap();
        cache.invalidate_tag("of inner").await.unwrap();
        assert!(!has(&cache, "inner").await && !has(&cache, "borrowing").await);
        assert_eq!(has(&cache, "outer").await, !contributes);
        cache.invalidate_tag("of outer").await.unwrap();
        assert!(!has(&cache, "outer").await);
    }
}

#[tokio::test]
async fn outside_of_a_load_it_only_reads() {
    assert_eq!(tagged(["t"], || give(1)).await, Ok(1));
    let off = cache();
    off.set_enabled(false);
    assert_eq!(*off.get_or_load("k", || tagged(["t"], || give(2))).await.unwrap(), 2);
}

#[tokio::test]
async fn a_spawned_task_takes_the_tagger_along() {
    let cache = cache();
    let along = || async {
        let tagger = Tagger::current();
        let task = tokio::spawn(async move { tagger.scope(tagged(["t"], || give(1))).await });
        task.await.unwrap()
    };
    // The control: a task of its own is not part of the load.
    let apart = || async { tokio::spawn(tagged(["t"], || give(1))).await.unwrap() };
    cache.get_or_load("along", along).await.unwrap();
    cache.get_or_load("apart", apart).await.unwrap();
    cache.invalidate_tag("t").await.unwrap();
    assert!(!has(&cache, "along").await);
    assert!(has(&cache, "apart").await);
}

/// A tag is captured before the data are read: an invalidation while they are read is not missed.
#[tokio::test]
async fn an_invalidation_during_the_read_is_not_missed() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    let gate = Gate::closed();
    let (reading, loader) = (gate.clone(), cache.clone());
    let load = tokio::spawn(async move {
        let read = || {
            tagged(["t"], || async move {
                reading.pass().await;
                give(1).await
            })
        };
        loader.get_or_load("k", read).await.unwrap()
    });
    gate.reached().await;
    cache.invalidate_tag("t").await.unwrap();
    gate.open();
    assert_eq!(*load.await.unwrap(), 1);
    idle().await;
    let loads = Count::new();
    assert_eq!(*cache.get_or_load("k", loads.loading(2)).await.unwrap(), 2);
    assert_eq!(loads.get(), 1, "the value of the first load is of no use");
}
