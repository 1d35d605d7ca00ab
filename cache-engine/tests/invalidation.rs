//! After an invalidation, no caller gets a value that was loaded before it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cache_core::EntryKind;
use cache_engine::{Cache, LoadError, Loaded};
use support::{Count, Fate, Gate, Log, MS, Remote, SEC, TokioClock, idle, load, memory, over};
use tokio::task::JoinHandle;

/// How a key is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Invalidate,
    Delete,
    Clear,
    ClearAll,
    Set,
    Tag,
    SoftKey,
    SoftTag,
}

const ALL: [How; 8] = [
    How::Invalidate,
    How::Delete,
    How::Clear,
    How::ClearAll,
    How::Set,
    How::Tag,
    How::SoftKey,
    How::SoftTag,
];

impl How {
    async fn run(self, cache: &Cache) {
        match self {
            Self::Invalidate => cache.invalidate("key").await.unwrap(),
            Self::Delete => drop(cache.delete("key").await.unwrap()),
            Self::Clear => drop(cache.clear("things").await.unwrap()),
            Self::ClearAll => drop(cache.clear_all().await.unwrap()),
            Self::Set => cache.set("key", "set".to_owned()).await.unwrap(),
            Self::Tag => cache.invalidate_tag("tag").await.unwrap(),
            Self::SoftKey => cache.soft().invalidate("key").await.unwrap(),
            Self::SoftTag => cache.soft().invalidate_tag("tag").await.unwrap(),
        }
    }

    /// What those who ask afterwards get, where a load of theirs would give `loaded`.
    fn leaves(self, loaded: &'static str) -> &'static str {
        if self == Self::Set { "set" } else { loaded }
    }
}

/// A local cache, one over a store that takes bytes only, and one over a store that cannot clear.
fn all() -> [Cache; 3] {
    let clock = TokioClock::new();
    let local = Cache::builder(memory(clock)).clock(clock).namespace("things").build();
    let local = local.with_tags(["tag"]);
    let remote = |remote| over(&remote).namespace("things").build().with_tags(["tag"]);
    [local, remote(Remote::new()), remote(Remote::without_clear())]
}

fn remotes() -> [Remote; 2] {
    [Remote::new(), Remote::without_clear()]
}

fn spawn(cache: &Cache, gate: Option<&Gate>, value: &'static str) -> JoinHandle<Arc<String>> {
    let answer = load(cache, gate, &Count::new(), Ok::<_, Infallible>(value));
    tokio::spawn(async move { answer.await.unwrap() })
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_an_invalidation_is_not_given_what_was_loaded_before() {
    for how in ALL {
        for cache in all() {
            let gate = Gate::closed();
            let starter = spawn(&cache, Some(&gate), "old");
            gate.reached().await;
            how.run(&cache).await;
            // While the old load still runs.
            let during = spawn(&cache, None, "new");
            idle().await;
            assert!(during.is_finished(), "{how:?}");
            gate.open();
            assert_eq!(*starter.await.unwrap(), "old", "who started the load keeps its value");
            assert_eq!(*during.await.unwrap(), how.leaves("new"), "{how:?}");
            // And after it has ended.
            let after = spawn(&cache, None, "newer").await.unwrap();
            assert_eq!(*after, how.leaves("new"), "{how:?}: nothing was stored over it");
            assert_eq!(cache.in_flight(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_had_joined_the_load_looks_again() {
    for how in ALL {
        for cache in all() {
            let gate = Gate::closed();
            let starter = spawn(&cache, Some(&gate), "old");
            gate.reached().await;
            let joiners: Vec<_> = (0..5).map(|_| spawn(&cache, None, "new")).collect();
            idle().await;
            how.run(&cache).await;
            gate.open();
            assert_eq!(*starter.await.unwrap(), "old");
            for joiner in joiners {
                assert_eq!(*joiner.await.unwrap(), how.leaves("new"), "{how:?}");
            }
            assert_eq!(cache.in_flight(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nor_in_another_process() {
    for (how, remote) in ALL.into_iter().flat_map(|how| remotes().map(|remote| (how, remote))) {
        let [here, there] = [(); 2].map(|()| over(&remote).namespace("things").build().with_tags(["tag"]));
        let log = Log::new();
        let watched = over(&remote).namespace("things").observer(log.clone()).build();
        let watched = watched.with_tags(["tag"]);
        let gate = Gate::closed();
        let starter = spawn(&watched, Some(&gate), "old");
        gate.reached().await;
        let joiner = spawn(&watched, None, "new");
        idle().await;
        how.run(&there).await;
        let during = spawn(&here, None, "new");
        idle().await;
        assert!(during.is_finished(), "{how:?}");
        gate.open();
        assert_eq!(*starter.await.unwrap(), "old");
        assert_eq!(*during.await.unwrap(), how.leaves("new"), "{how:?}");
        assert_eq!(*joiner.await.unwrap(), how.leaves("new"), "{how:?}");
        assert_eq!(log.count("fenced"), 1);
        assert_eq!(*spawn(&there, None, "newer").await.unwrap(), how.leaves("new"));
    }
}

/// The fill has been carried out but its answer is still under way. Who asks in between, after an invalidation by
/// another process, finds no record, and joins a flight whose value was stored before the invalidation.
#[tokio::test(start_paused = true)]
async fn nor_who_joins_while_the_answer_to_the_fill_is_under_way() {
    for (how, remote) in ALL.into_iter().flat_map(|how| remotes().map(|remote| (how, remote))) {
        let [here, there] = [(); 2].map(|()| over(&remote).namespace("things").build().with_tags(["tag"]));
        let gate = Gate::closed();
        remote.once(Fate::HoldAnswer(gate.clone()), |call| call.writes(EntryKind::Value));
        let starter = spawn(&here, None, "old");
        gate.reached().await;
        how.run(&there).await;
        let late = spawn(&here, None, "new");
        idle().await;
        gate.open();
        assert_eq!(*starter.await.unwrap(), "old");
        assert_eq!(*late.await.unwrap(), how.leaves("new"), "{how:?}");
    }
}

/// As above, where the flight's leader found the value that another process has just stored.
#[tokio::test(start_paused = true)]
async fn nor_who_joins_while_the_answer_to_a_look_is_under_way() {
    let remote = Remote::new();
    let [here, there] = [(); 2].map(|()| over(&remote).build());
    let gate = Gate::closed();
    let loading = spawn(&there, Some(&gate), "old");
    gate.reached().await;
    // Waits for the lease of the other process.
    let starter = spawn(&here, None, "never loaded");
    idle().await;
    let looked = Gate::closed();
    gate.open();
    loading.await.unwrap();
    remote.once(Fate::HoldAnswer(looked.clone()), |call| call.is("get"));
    looked.reached().await;
    there.invalidate("key").await.unwrap();
    let late = spawn(&here, None, "new");
    idle().await;
    looked.open();
    assert_eq!(*starter.await.unwrap(), "old");
    assert_eq!(*late.await.unwrap(), "new");
}

/// The lease could not be written, so the load runs without a fence. When the store is back and another process has
/// invalidated the key, who asks then knows better than to take that load's value.
#[tokio::test(start_paused = true)]
async fn nor_who_joins_a_load_without_a_fence_when_the_store_is_back() {
    let remote = Remote::new();
    let [here, there] = [(); 2].map(|()| over(&remote).build());
    let gate = Gate::closed();
    remote.once(Fate::Fail(cache_core::ErrorKind::Unavailable), |call| {
        call.writes(EntryKind::Lease)
    });
    let starter = spawn(&here, Some(&gate), "old");
    gate.reached().await;
    there.invalidate("key").await.unwrap();
    let late = spawn(&here, None, "new");
    idle().await;
    gate.open();
    assert_eq!(*starter.await.unwrap(), "old");
    assert_eq!(*late.await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_stale_copy_does_not_come_back() {
    for how in [How::Invalidate, How::Delete, How::Clear, How::ClearAll, How::Tag] {
        let makes = [local_stale, remote_stale, remote_stale_without_clear];
        for (number, make) in makes.into_iter().enumerate() {
            let (cache, other) = make();
            cache.set("key", "stale".to_owned()).await.unwrap();
            tokio::time::advance(2 * SEC).await;
            // The load of the stale copy's successor fails, after another process has invalidated the copy.
            let gate = Gate::closed();
            let fail = |gate: Gate| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let load = move || async move {
                        gate.pass().await;
                        Err::<String, _>("failed")
                    };
                    cache.get_or_load("key", load).await
                })
            };
            let starter = fail(gate.clone());
            gate.reached().await;
            let joiner = spawn_failing(&cache);
            idle().await;
            how.run(&other).await;
            gate.open();
            let answer = starter.await.unwrap();
            assert!(
                matches!(answer, Err(LoadError::Failed(_))),
                "{how:?} {number}: {answer:?}"
            );
            let answer = joiner.await.unwrap();
            assert!(
                matches!(answer, Err(LoadError::Failed(_))),
                "{how:?} {number}: {answer:?}"
            );
            assert!(cache.get::<String>("key").await.unwrap().is_none());
        }
    }
}

fn spawn_failing(cache: &Cache) -> JoinHandle<Result<Arc<String>, LoadError<&'static str>>> {
    let cache = cache.clone();
    tokio::spawn(async move {
        cache
            .get_or_load("key", || async { Err::<String, _>("failed too") })
            .await
    })
}

fn local_stale() -> (Cache, Cache) {
    let clock = TokioClock::new();
    let backend: Arc<dyn cache_core::Backend> = Arc::new(memory(clock));
    let make = || Cache::builder_shared(Arc::clone(&backend)).clock(clock);
    let make = || make().namespace("things").ttl(SEC).stale_if_error(60 * SEC).build();
    (make().with_tags(["tag"]), make())
}

fn remote_stale() -> (Cache, Cache) {
    stale_over(&Remote::new())
}

fn remote_stale_without_clear() -> (Cache, Cache) {
    stale_over(&Remote::without_clear())
}

fn stale_over(remote: &Remote) -> (Cache, Cache) {
    let make = || {
        over(remote)
            .namespace("things")
            .ttl(SEC)
            .stale_if_error(60 * SEC)
            .build()
            .with_tags(["tag"])
    };
    (make(), make())
}

#[tokio::test(start_paused = true)]
async fn a_refresh_in_the_background_does_not_bring_it_back_either() {
    for (how, remote) in ALL.into_iter().flat_map(|how| remotes().map(|remote| (how, remote))) {
        let make = || {
            over(&remote)
                .namespace("things")
                .ttl(SEC)
                .stale_while_revalidate(60 * SEC)
                .build()
                .with_tags(["tag"])
        };
        let (cache, other) = (make(), make());
        cache.set("key", "stale".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        let gate = Gate::closed();
        assert_eq!(*spawn(&cache, Some(&gate), "old").await.unwrap(), "stale");
        gate.reached().await;
        how.run(&other).await;
        gate.open();
        idle().await;
        assert_eq!(cache.in_flight(), 0);
        if matches!(how, How::SoftKey | How::SoftTag) {
            // A copy is kept, and the next caller refreshes it: by the key, the one that was stale already; by the tag,
            // whatever was loaded before.
            let kept = if how == How::SoftKey { "stale" } else { "old" };
            assert_eq!(*spawn(&cache, None, "new").await.unwrap(), kept, "{how:?}");
            idle().await;
        }
        assert_eq!(*spawn(&cache, None, "new").await.unwrap(), how.leaves("new"), "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_modified_is_not_kept_after_an_invalidation() {
    let (cache, other) = remote_stale();
    cache.set("key", "stale".to_owned()).await.unwrap();
    tokio::time::advance(2 * SEC).await;
    let gate = Gate::closed();
    let revalidating = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let load = |load: cache_engine::Load<String>| async move {
                gate.pass().await;
                Ok::<_, Infallible>(load.stale().unwrap().not_modified())
            };
            cache.get_or_load_with("key", load).await.unwrap().unwrap()
        }
    });
    gate.reached().await;
    other.invalidate("key").await.unwrap();
    gate.open();
    assert_eq!(*revalidating.await.unwrap(), "stale");
    assert_eq!(*spawn(&cache, None, "new").await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn neither_is_the_answer_that_there_is_no_value() {
    for store in [true, false] {
        let (cache, other) = remote_stale();
        cache.set("key", "stale".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        let gate = Gate::closed();
        let find = |gate: Option<Gate>, answer: Option<&'static str>| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let load = move |_| async move {
                    if let Some(gate) = gate {
                        gate.pass().await;
                    }
                    let absent = Loaded::absent().with_ttl(if store { SEC } else { Duration::ZERO });
                    Ok::<_, Infallible>(answer.map_or(absent, |value| Loaded::new(value.to_owned())))
                };
                cache.get_or_load_with("key", load).await.unwrap()
            })
        };
        let starter = find(Some(gate.clone()), None);
        gate.reached().await;
        let joiner = find(None, Some("new"));
        idle().await;
        // It exists from now on.
        other.invalidate("key").await.unwrap();
        gate.open();
        assert!(starter.await.unwrap().is_none());
        assert_eq!(joiner.await.unwrap().as_deref().map(String::as_str), Some("new"));
    }
}

#[tokio::test(start_paused = true)]
async fn clearing_a_namespace_fences_no_load_of_another() {
    let cache = over(&Remote::new()).namespace("user").build();
    let without_clear = over(&Remote::without_clear()).namespace("user").build();
    for cache in [cache, without_clear] {
        let gate = Gate::closed();
        let starter = spawn(&cache, Some(&gate), "value");
        gate.reached().await;
        for other in ["users", "use", "", "user:admin", "User"] {
            cache.clear(other).await.unwrap();
        }
        gate.open();
        starter.await.unwrap();
        assert_eq!(
            cache.get::<String>("key").await.unwrap().as_deref().map(String::as_str),
            Some("value")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn joiners_that_look_again_share_one_load() {
    let cache = over(&Remote::new()).build();
    let gate = Gate::closed();
    let starter = spawn(&cache, Some(&gate), "old");
    gate.reached().await;
    let loads = Count::new();
    let joiners: Vec<_> = (0..50)
        .map(|_| {
            let (cache, loads) = (cache.clone(), loads.clone());
            tokio::spawn(async move {
                let load = move || async move {
                    tokio::time::sleep(50 * MS).await;
                    Ok::<_, Infallible>(format!("new {}", loads.up()))
                };
                cache.get_or_load("key", load).await.unwrap()
            })
        })
        .collect();
    idle().await;
    cache.invalidate("key").await.unwrap();
    gate.open();
    assert_eq!(*starter.await.unwrap(), "old");
    for joiner in joiners {
        assert_eq!(*joiner.await.unwrap(), "new 1");
    }
    assert_eq!(loads.get(), 1);
}

/// Says that the stale value is still good, and loads anew where there is none.
async fn revalidate(load: cache_engine::Load<String>) -> Result<Loaded<String>, Infallible> {
    Ok(match load.stale() {
        Some(stale) => stale.not_modified(),
        None => Loaded::new("new".to_owned()),
    })
}

#[tokio::test(start_paused = true)]
async fn no_load_is_given_a_copy_that_was_invalidated_between_its_look_and_its_fence() {
    for how in [How::Tag, How::Clear] {
        let remote = Remote::without_clear();
        let (cache, other) = stale_over(&remote);
        cache.set("key", "stale".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        // The third batch, after the entry with its epochs and its tag, is what the load depends on.
        let (gate, mut batches) = (Gate::closed(), 0);
        let held = gate.clone();
        remote.plan(move |call| {
            batches += u32::from(call.is("get_many"));
            if batches == 3 && call.is("get_many") {
                Fate::Hold(held.clone())
            } else {
                Fate::Pass
            }
        });
        let caller = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get_or_load_with("key", revalidate).await.unwrap().unwrap() }
        });
        gate.reached().await;
        how.run(&other).await;
        gate.open();
        assert_eq!(*caller.await.unwrap(), "new", "{how:?}");
        assert_eq!(*cache.get::<String>("key").await.unwrap().unwrap(), "new", "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nor_is_one_that_passes_to_a_waiter() {
    let (cache, other) = remote_stale();
    cache.set("key", "stale".to_owned()).await.unwrap();
    tokio::time::advance(2 * SEC).await;
    let gate = Gate::closed();
    let leader = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let load = |load: cache_engine::Load<String>| async move {
                gate.pass().await;
                revalidate(load).await
            };
            drop(cache.borrowing().get_or_load_with("key", load).await);
        }
    });
    gate.reached().await;
    let waiter = tokio::spawn({
        let cache = cache.clone();
        async move {
            let value = cache.borrowing().get_or_load_with("key", revalidate).await;
            value.unwrap().unwrap()
        }
    });
    idle().await;
    other.invalidate_tag("tag").await.unwrap();
    leader.abort();
    assert_eq!(*waiter.await.unwrap(), "new");
    assert_eq!(*cache.get::<String>("key").await.unwrap().unwrap(), "new");
}
