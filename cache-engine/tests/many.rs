//! Several keys at once: one batch read, and one load of the missing keys.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_engine::cache_core::ManualClock;
use cache_engine::{Cache, LoadError};
use cache_memory::MemoryBackend;
use tokio::sync::Semaphore;

fn cache() -> Cache {
    Cache::builder(MemoryBackend::default()).build()
}

fn squares(ids: Vec<u32>) -> HashMap<u32, u32> {
    ids.into_iter().map(|id| (id, id * id)).collect()
}

/// Squares, and a note of what was asked for.
fn noting(
    calls: &Arc<Mutex<Vec<Vec<u32>>>>,
) -> impl Fn(Vec<u32>) -> std::future::Ready<Result<HashMap<u32, u32>, Infallible>> + use<> {
    let calls = Arc::clone(calls);
    move |ids| {
        calls.lock().unwrap().push(ids.clone());
        std::future::ready(Ok(squares(ids)))
    }
}

#[tokio::test]
async fn only_what_is_missing_is_loaded_and_in_one_call() {
    let cache = cache();
    cache.set("2", 4_u32).await.unwrap();
    let calls = Arc::default();
    let found = cache.get_or_load_many([1, 2, 3, 3, 1], noting(&calls)).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), [vec![1, 3]]);
    assert_eq!((*found[&1], *found[&2], *found[&3], found.len()), (1, 4, 9, 3));
    assert_eq!(cache.get::<u32>("3").await.unwrap().as_deref(), Some(&9));

    cache.get_or_load_many([1, 2, 3], noting(&calls)).await.unwrap();
    assert_eq!(calls.lock().unwrap().len(), 1, "all are hits now");
    assert_eq!(cache.in_flight(), 0);
}

#[tokio::test]
async fn no_ids_call_nobody() {
    let calls = Arc::default();
    assert!(cache().get_or_load_many([], noting(&calls)).await.unwrap().is_empty());
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_does_not_exist_is_left_out_and_remembered_by_choice() {
    let clock = ManualClock::new();
    let cache = Cache::builder(MemoryBackend::builder().clock(clock.clone()).build())
        .clock(clock.clone())
        .negative_ttl(Duration::from_secs(10))
        .build();
    let calls = Arc::new(Mutex::new(0));
    let none = |calls: &Arc<Mutex<i32>>| {
        let calls = Arc::clone(calls);
        move |_: Vec<u32>| {
            *calls.lock().unwrap() += 1;
            std::future::ready(Ok::<_, Infallible>(HashMap::<u32, u32>::new()))
        }
    };
    assert!(cache.get_or_load_many([7], none(&calls)).await.unwrap().is_empty());
    assert!(cache.get_or_load_many([7], none(&calls)).await.unwrap().is_empty());
    assert_eq!(*calls.lock().unwrap(), 1);
    clock.advance(Duration::from_secs(11));
    assert!(cache.get_or_load_many([7], none(&calls)).await.unwrap().is_empty());
    assert_eq!(*calls.lock().unwrap(), 2);
}

#[tokio::test]
async fn batches_that_overlap_share_loads_and_never_wait_for_each_other() {
    let cache = cache();
    let gate = Arc::new(Semaphore::new(0));
    let calls: Arc<Mutex<Vec<Vec<u32>>>> = Arc::default();
    let start = |ids: [u32; 2]| {
        let (cache, gate, calls) = (cache.clone(), Arc::clone(&gate), Arc::clone(&calls));
        tokio::spawn(async move {
            let load = move |ids: Vec<u32>| {
                let gate = Arc::clone(&gate);
                calls.lock().unwrap().push(ids.clone());
                async move {
                    gate.acquire().await.unwrap().forget();
                    Ok::<_, Infallible>(squares(ids))
                }
            };
            cache.get_or_load_many(ids, load).await.unwrap()
        })
    };
    let batches = [start([1, 2]), start([2, 3]), start([3, 1])];
    // Two loads suffice: the first takes two ids, the second one, and nothing is left for the third.
    while calls.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(10);
    for batch in batches {
        assert_eq!(batch.await.unwrap().len(), 2);
    }
    let mut loaded: Vec<u32> = calls.lock().unwrap().concat();
    loaded.sort_unstable();
    assert_eq!(loaded, [1, 2, 3], "each id is loaded once");
    assert_eq!(cache.in_flight(), 0);
}

#[tokio::test]
async fn a_batch_and_a_single_call_share_a_load() {
    let cache = cache();
    let gate = Arc::new(Semaphore::new(0));
    let single = {
        let (cache, gate) = (cache.clone(), Arc::clone(&gate));
        tokio::spawn(async move {
            let load = || async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, Infallible>(100_u32)
            };
            *cache.get_or_load("1", load).await.unwrap()
        })
    };
    while cache.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let calls = Arc::default();
    let batch = {
        let (cache, load) = (cache.clone(), noting(&calls));
        tokio::spawn(async move { cache.get_or_load_many([1, 2], load).await.unwrap() })
    };
    while cache.get::<u32>("2").await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    assert_eq!(single.await.unwrap(), 100);
    assert_eq!(*batch.await.unwrap()[&1], 100);
    assert_eq!(*calls.lock().unwrap(), [vec![2]]);
}

#[tokio::test]
async fn a_failed_load_fails_the_batch_and_leaves_nothing_behind() {
    let cache = cache();
    cache.set("1", 1_u32).await.unwrap();
    let failing = |_: Vec<u32>| async { Err::<HashMap<u32, u32>, _>("down") };
    let error = cache.get_or_load_many([1, 2], failing).await.unwrap_err();
    assert!(matches!(error, LoadError::Failed(error) if *error == "down"));
    let error = cache
        .get_or_load_many::<u32, u32, &str, _, std::future::Pending<_>>([1, 2], |_| panic!("no good"))
        .await;
    assert!(matches!(error.unwrap_err(), LoadError::Panicked(message) if &*message == "no good"));
    assert_eq!(cache.in_flight(), 0);
    assert_eq!(
        cache
            .get_or_load_many([1, 2], noting(&Arc::default()))
            .await
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn stale_values_are_answered_at_once_and_refreshed_together() {
    let clock = ManualClock::new();
    let cache = Cache::builder(MemoryBackend::builder().clock(clock.clone()).build())
        .clock(clock.clone())
        .ttl(Duration::from_secs(10))
        .stale_while_revalidate(Duration::from_secs(60))
        .build();
    for id in ["1", "2"] {
        cache.set(id, 0_u32).await.unwrap();
    }
    clock.advance(Duration::from_secs(11));
    let calls = Arc::default();
    let found = cache.get_or_load_many([1, 2], noting(&calls)).await.unwrap();
    assert_eq!((*found[&1], *found[&2]), (0, 0));
    cache.shutdown().await;
    assert_eq!(*calls.lock().unwrap(), [vec![1, 2]]);
    assert_eq!(cache.get::<u32>("2").await.unwrap().as_deref(), Some(&4));
}

#[tokio::test]
async fn an_invalidation_during_the_load_keeps_the_old_value_out() {
    let cache = cache();
    let gate = Arc::new(Semaphore::new(0));
    let batch = {
        let (cache, gate) = (cache.clone(), Arc::clone(&gate));
        tokio::spawn(async move {
            let load = move |ids: Vec<u32>| {
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    Ok::<_, Infallible>(squares(ids))
                }
            };
            cache.get_or_load_many([1, 2], load).await.unwrap()
        })
    };
    while cache.in_flight() < 2 {
        tokio::task::yield_now().await;
    }
    cache.invalidate("1").await.unwrap();
    gate.add_permits(1);
    assert_eq!(
        batch.await.unwrap().len(),
        2,
        "the one who started the load keeps what it loaded"
    );
    assert_eq!(cache.get::<u32>("1").await.unwrap(), None);
    assert_eq!(cache.get::<u32>("2").await.unwrap().as_deref(), Some(&4));
}
