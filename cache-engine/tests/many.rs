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

mod by_key {
    use cache_engine::{Loaded, LoadedMany, Outcomes};

    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn cache_at(clock: &ManualClock) -> Cache {
        Cache::builder(MemoryBackend::builder().clock(clock.clone()).build())
            .clock(clock.clone())
            .ttl(100 * SEC)
            .build()
    }

    /// A loader of squares: each id in its own way.
    fn load(ids: Vec<u32>) -> std::future::Ready<Result<LoadedMany<u32, u32, &'static str>, &'static str>> {
        let loaded = ids.into_iter().filter_map(|id| {
            let square = Loaded::new(id * id);
            match id {
                2 => Some((id, Ok(square.with_ttl(5 * SEC)))),
                3 => Some((id, Ok(square.do_not_store()))),
                4 => Some((id, Err("four"))),
                5 => None,
                _ => Some((id, Ok(square))),
            }
        });
        std::future::ready(Ok(loaded.collect()))
    }

    fn number(outcomes: &Outcomes<u32, u32, &'static str>, id: u32) -> Option<u32> {
        outcomes[&id].as_ref().unwrap().as_deref().copied()
    }

    #[tokio::test]
    async fn each_id_has_an_outcome_and_a_lifetime_of_its_own() {
        let clock = ManualClock::new();
        let cache = cache_at(&clock);
        let found = cache.many([1, 2, 3, 4, 5]).get_or_load(load).await;
        assert_eq!(found.len(), 5);
        assert_eq!(
            [1, 2, 3, 5].map(|id| number(&found, id)),
            [Some(1), Some(4), Some(9), None]
        );
        assert!(matches!(&found[&4], Err(LoadError::Failed(error)) if **error == "four"));

        let stored = |cache: Cache| async move {
            let ids = [1, 2, 3, 4].map(|id: u32| id.to_string());
            let values = cache.get_many::<u32, _>(ids).await.unwrap();
            values.into_iter().map(|value| value.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(stored(cache.clone()).await, [true, true, false, false]);
        clock.advance(5 * SEC);
        assert_eq!(stored(cache.clone()).await, [true, false, false, false]);
        assert_eq!(cache.in_flight(), 0);
    }

    #[tokio::test]
    async fn an_error_of_the_load_is_that_of_all_ids_it_was_called_for() {
        let cache = cache();
        cache.set("1", 7_u32).await.unwrap();
        let failing = |_: Vec<u32>| async { Err::<LoadedMany<u32, u32, _>, _>("down") };
        let found = cache.many([1, 2, 3]).get_or_load(failing).await;
        assert_eq!(number(&found, 1), Some(7));
        assert!(found[&2].is_err() && found[&3].is_err());
        cache.set_enabled(false);
        let found = cache.many([4, 6]).get_or_load(load).await;
        assert!(found[&4].is_err());
        assert_eq!(number(&found, 6), Some(36));
    }

    #[tokio::test]
    async fn tags_are_by_id_and_captured_before_the_load() {
        let cache = cache();
        let tagged = cache.with_tags(["all"]);
        let tags = |id: &u32| [format!("number:{id}"), format!("parity:{}", id % 2)];
        tagged.many([1, 2, 7]).tags_by(tags).get_or_load(load).await;
        let is_stored = |id: &'static str| {
            let cache = cache.clone();
            async move { cache.get::<u32>(id).await.unwrap().is_some() }
        };
        cache.invalidate_tag("number:1").await.unwrap();
        assert!(!is_stored("1").await && is_stored("2").await && is_stored("7").await);
        cache.invalidate_tag("parity:1").await.unwrap();
        assert!(is_stored("2").await && !is_stored("7").await);
        cache.invalidate_tag("all").await.unwrap();
        assert!(!is_stored("2").await);

        let invalidating = {
            let cache = cache.clone();
            move |ids: Vec<u32>| {
                let cache = cache.clone();
                async move {
                    cache.invalidate_tag("number:1").await.unwrap();
                    load(ids).await
                }
            }
        };
        tagged.many([1, 7]).tags_by(tags).get_or_load(invalidating).await;
        assert!(!is_stored("1").await, "it was invalidated during the load");
        assert!(is_stored("7").await);
    }

    #[tokio::test]
    async fn a_refresh_loads_what_is_fresh_and_leaves_what_fails() {
        let cache = cache();
        cache.set_many([("1", 0_u32), ("4", 0)]).await.unwrap();
        let found = cache
            .many([1, 4, 6])
            .tags_by(|id| [format!("number:{id}")])
            .refresh(load)
            .await;
        assert_eq!((number(&found, 1), number(&found, 6)), (Some(1), Some(36)));
        assert!(found[&4].is_err());
        let stored = cache.get_many::<u32, _>(["1", "4", "6"]).await.unwrap();
        assert_eq!(
            stored.into_iter().map(|value| *value.unwrap()).collect::<Vec<_>>(),
            [1, 0, 36]
        );
        cache.invalidate_tag("number:1").await.unwrap();
        assert!(cache.get::<u32>("1").await.unwrap().is_none());

        let calls = Arc::default();
        let found = cache.refresh_many([6, 7], noting(&calls)).await.unwrap();
        assert_eq!((*found[&6], *found[&7]), (36, 49));
        assert_eq!(*calls.lock().unwrap(), [[6, 7]]);
        let failing = |_: Vec<u32>| async { Err::<HashMap<u32, u32>, _>("down") };
        assert!(cache.refresh_many([6], failing).await.is_err());
        assert_eq!(cache.get::<u32>("6").await.unwrap().as_deref(), Some(&36));
    }

    #[tokio::test]
    async fn what_is_remembered_not_to_exist_is_refreshed_too() {
        let cache = cache().policy_with(|policy| policy.with_negative_ttl(10 * SEC));
        let none = |_: Vec<u32>| async { Ok::<_, Infallible>(HashMap::<u32, u32>::new()) };
        assert!(cache.get_or_load_many([6], none).await.unwrap().is_empty());
        assert!(
            cache
                .get_or_load_many([6], noting(&Arc::default()))
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(cache.refresh_many([6], noting(&Arc::default())).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn many_are_set_and_invalidated() {
        let clock = ManualClock::new();
        let cache = cache_at(&clock);
        let tagged = cache.with_tags(["all"]);
        tagged
            .set_many([("1", 1_u32), ("2", 2), ("3", 3), ("3", 4)])
            .await
            .unwrap();
        tagged.set_many([] as [(&str, u32); 0]).await.unwrap();
        assert_eq!(
            cache.get::<u32>("3").await.unwrap().as_deref(),
            Some(&4),
            "the last one counts"
        );
        cache.invalidate_many(["1", "3", "unknown"]).await.unwrap();
        cache.invalidate_many([] as [&str; 0]).await.unwrap();
        let stored = cache.get_many::<u32, _>(["1", "2", "3"]).await.unwrap();
        assert_eq!(
            stored.iter().map(Option::is_some).collect::<Vec<_>>(),
            [false, true, false]
        );
        cache.invalidate_tag("all").await.unwrap();
        assert!(cache.get::<u32>("2").await.unwrap().is_none());

        let stale = cache.policy_with(|policy| policy.with_stale_while_revalidate(100 * SEC));
        stale.set_many([("1", 1_u32), ("2", 2)]).await.unwrap();
        stale.soft().invalidate_many(["1", "2"]).await.unwrap();
        assert!(stale.get::<u32>("1").await.unwrap().is_none());
        let found = stale.get_or_load_many([1, 2], noting(&Arc::default())).await.unwrap();
        assert_eq!(
            (*found[&1], *found[&2]),
            (1, 2),
            "the stale values are returned at once"
        );
        stale.shutdown().await;
        assert_eq!(stale.get::<u32>("2").await.unwrap().as_deref(), Some(&4));
    }

    #[tokio::test]
    async fn a_load_that_began_before_does_not_undo_a_batch() {
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
                cache.get_or_load_many([2, 3], load).await.unwrap()
            })
        };
        while cache.in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        cache.set_many([("2", 7_u32)]).await.unwrap();
        cache.invalidate_many(["3"]).await.unwrap();
        gate.add_permits(1);
        batch.await.unwrap();
        assert_eq!(cache.get::<u32>("2").await.unwrap().as_deref(), Some(&7));
        assert_eq!(cache.get::<u32>("3").await.unwrap(), None);
    }
}

/// Each of the loads asks for the last id, which another of them would bring.
#[tokio::test(start_paused = true)]
async fn a_large_batch_whose_loads_need_an_id_of_it_ends() {
    let cache = cache();
    let (calls, of_load) = (Arc::new(Mutex::new(Vec::new())), cache.clone());
    let noted = Arc::clone(&calls);
    let load = move |ids: Vec<u32>| {
        let (cache, noted) = (of_load.clone(), Arc::clone(&noted));
        async move {
            assert!(!ids.contains(&4_999), "it is stored by then");
            noted.lock().unwrap().extend(ids.clone());
            let last = cache.get_or_load("4999", || async { Ok::<_, Infallible>(4_999_u32 * 4_999) });
            assert_eq!(*last.await.unwrap(), 4_999 * 4_999);
            Ok::<_, Infallible>(squares(ids))
        }
    };
    let batch = tokio::time::timeout(Duration::from_secs(60), cache.get_or_load_many(0..5_000, load));
    let found = batch.await.expect("it waits for itself").unwrap();
    assert_eq!((found.len(), *found[&4_999], *found[&1]), (5_000, 4_999 * 4_999, 1));
    let mut loaded = calls.lock().unwrap().clone();
    loaded.sort_unstable();
    assert_eq!(loaded, (0..4_999).collect::<Vec<_>>(), "each id once");
    assert_eq!(cache.in_flight(), 0);
}
