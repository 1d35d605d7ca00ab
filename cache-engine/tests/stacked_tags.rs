//! The tags of an entry reach the values that are made from it, with the versions that the entry was read with.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{ErrorKind, ManualClock};
use cache_engine::{Cache, Event, Loaded, Observer, StoreOutcome, in_current_load, tagged};
use support::{Count, Fate, Gate, Remote, SEC, TokioClock, idle, local, memory, over};

async fn inner(cache: &Cache, tag: &str) -> u32 {
    let name = cache.with_namespace("inner").with_tags([tag]);
    *name.get_or_load(tag, Count::new().loading(1_u32)).await.unwrap()
}

/// Loads "outer" with what `made` returns.
async fn outer<F>(cache: &Cache, made: impl FnOnce(Cache) -> F + Send + 'static)
where
    F: Future<Output = u32> + Send + 'static,
{
    let of_load = cache.clone();
    let load = move || async move { Ok::<_, Infallible>(made(of_load).await) };
    cache.get_or_load("outer", load).await.unwrap();
}

async fn is_stored(cache: &Cache) -> bool {
    cache.get::<u32>("outer").await.unwrap().is_some()
}

/// Both kinds of stores: objects in this process, and envelopes elsewhere.
fn caches() -> [Cache; 2] {
    [local(&ManualClock::new()).build(), over(&Remote::new()).build()]
}

#[tokio::test(start_paused = true)]
async fn a_tag_of_a_part_invalidates_the_whole() {
    for cache in caches() {
        for warm in [false, true] {
            if warm {
                inner(&cache, "tag").await;
            }
            outer(&cache, |cache| async move { inner(&cache, "tag").await }).await;
            assert!(is_stored(&cache).await);
            cache.invalidate_tag("another").await.unwrap();
            assert!(is_stored(&cache).await);
            cache.invalidate_tag("tag").await.unwrap();
            assert!(!is_stored(&cache).await, "{warm}");
        }
    }
}

/// An invalidation between the read of the part and the end of the whole is not lost, although the whole's own tags
/// are stored after it.
#[tokio::test(start_paused = true)]
async fn an_invalidation_after_the_part_was_read_reaches_the_whole() {
    for cache in caches() {
        for warm in [false, true] {
            for tag in ["tag", "another"] {
                cache.clear_all().await.unwrap();
                if warm {
                    inner(&cache, "tag").await;
                }
                let gate = Gate::closed();
                let loading = tokio::spawn({
                    let (cache, gate) = (cache.clone(), gate.clone());
                    async move {
                        let made = move |cache: Cache| async move {
                            let value = inner(&cache, "tag").await;
                            gate.pass().await;
                            value
                        };
                        outer(&cache, made).await;
                    }
                });
                gate.reached().await;
                cache.invalidate_tag(tag).await.unwrap();
                // The tag has a new version, and an entry with it.
                inner(&cache, "tag").await;
                gate.open();
                loading.await.unwrap();
                let is_outdated = tag == "tag";
                assert_eq!(is_stored(&cache).await, !is_outdated, "{tag}, {warm}");
            }
        }
    }
}

/// The versions are those of the part, also if the load reads the tag itself.
#[tokio::test(start_paused = true)]
async fn a_tag_that_changed_between_two_parts_makes_the_whole_outdated() {
    for cache in caches() {
        let made = |cache: Cache| async move {
            let one = inner(&cache, "tag").await;
            cache.invalidate_tag("tag").await.unwrap();
            let other = inner(&cache, "tag").await;
            one + other
        };
        outer(&cache, made).await;
        assert!(!is_stored(&cache).await);
        let made = |cache: Cache| async move {
            let one = inner(&cache, "tag").await;
            cache.invalidate_tag("tag").await.unwrap();
            tagged(["tag"], || async move { one }).await
        };
        outer(&cache, made).await;
        assert!(!is_stored(&cache).await);
        let made = |cache: Cache| async move { inner(&cache, "tag").await + inner(&cache, "tag").await };
        outer(&cache, made).await;
        assert!(is_stored(&cache).await);
    }
}

#[tokio::test(start_paused = true)]
async fn tags_travel_through_any_number_of_levels() {
    for cache in caches() {
        let made = |cache: Cache| async move {
            let middle = cache.with_namespace("middle").with_tags(["middle"]);
            let load = move || async move { Ok::<_, Infallible>(inner(&cache, "tag").await) };
            *middle.get_or_load("middle", load).await.unwrap()
        };
        for tag in ["tag", "middle"] {
            outer(&cache, made).await;
            assert!(is_stored(&cache).await);
            cache.invalidate_tag(tag).await.unwrap();
            assert!(!is_stored(&cache).await, "{tag}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_of_reading_contributes() {
    for cache in caches() {
        let part = cache.with_namespace("part").with_tags(["tag"]);
        for way in 0..6 {
            part.set("part", 1_u32).await.unwrap();
            let part = part.clone();
            let made = move |_: Cache| async move {
                match way {
                    0 => *part.get("part").await.unwrap().unwrap(),
                    1 => *part.get_many(["part"]).await.unwrap()[0].clone().unwrap(),
                    2 => *part
                        .borrowing()
                        .get_or_load("part", Count::new().loading(1))
                        .await
                        .unwrap(),
                    3 => {
                        let load = async |ids: Vec<&'static str>| {
                            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, 1_u32)).collect())
                        };
                        let load = move |ids| load(ids);
                        *part.get_or_load_many(["part"], load).await.unwrap()["part"]
                    }
                    4 => {
                        part.invalidate("part").await.unwrap();
                        let loads = |ids: Vec<&'static str>| async move {
                            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, 1_u32)).collect())
                        };
                        *part.get_or_load_many(["part"], loads).await.unwrap()["part"]
                    }
                    _ => *part.refresh("part", Count::new().loading(1)).await.unwrap(),
                }
            };
            outer(&cache, made).await;
            assert!(is_stored(&cache).await, "{way}");
            cache.invalidate_tag("tag").await.unwrap();
            assert!(!is_stored(&cache).await, "{way}");
        }
    }
}

/// Of two values that wait for the same part, each gets its tags.
#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_for_a_part_gets_its_tags() {
    for cache in caches() {
        let gate = Gate::closed();
        let loads = Count::new();
        let wait = |name: &'static str| {
            let (cache, gate, loads) = (cache.clone(), gate.clone(), loads.clone());
            let of_load = cache.clone();
            let load = move || async move {
                let part = of_load.with_namespace("part").with_tags(["tag"]);
                let load = move || async move {
                    loads.up();
                    gate.pass().await;
                    Ok::<_, Infallible>(1_u32)
                };
                part.get_or_load("part", load).await.map(|value| *value)
            };
            tokio::spawn(async move { cache.get_or_load(name, load).await.map(drop) })
        };
        let leading = wait("one");
        gate.reached().await;
        let waiting = wait("two");
        idle().await;
        gate.open();
        leading.await.unwrap().unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(loads.get(), 1);
        for name in ["one", "two"] {
            assert!(cache.get::<u32>(name).await.unwrap().is_some());
        }
        cache.invalidate_tag("tag").await.unwrap();
        for name in ["one", "two"] {
            assert!(cache.get::<u32>(name).await.unwrap().is_none(), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_value_contributes() {
    for cache in caches() {
        let part = cache
            .with_namespace("part")
            .with_tags(["tag"])
            .policy_with(|policy| policy.with_negative_ttl(SEC));
        for remembered in [false, true] {
            let of_load = part.clone();
            let made = move |_: Cache| async move {
                let find = || async { Ok::<_, Infallible>(None::<u32>) };
                assert!(of_load.get_or_load_optional("part", find).await.unwrap().is_none());
                0
            };
            outer(&cache, made).await;
            assert!(is_stored(&cache).await);
            cache.invalidate_tag("tag").await.unwrap();
            assert!(!is_stored(&cache).await, "{remembered}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_near_copy_contributes() {
    let remote = Remote::new();
    let clock = TokioClock::new();
    let build = || over(&remote).near(memory(clock)).near_max_age(60 * SEC).build();
    let (here, there) = (build(), build());
    inner(&here, "tag").await;
    remote.take_calls();
    inner(&here, "tag").await;
    assert!(remote.take_calls().is_empty(), "a near copy");
    outer(&here, |cache| async move { inner(&cache, "tag").await }).await;
    assert!(there.get::<u32>("outer").await.unwrap().is_some());
    there.invalidate_tag("tag").await.unwrap();
    assert!(there.get::<u32>("outer").await.unwrap().is_none());
}

/// A near copy may be older than an invalidation by another process. A value that carries the tag itself, as of a later
/// time, must not give the copy that version.
#[tokio::test(start_paused = true)]
async fn an_old_near_copy_does_not_get_the_version_that_the_load_began_with() {
    for tag in ["tag", "another"] {
        let remote: Arc<dyn cache_core::Backend> = Arc::new(Remote::new());
        let builder = || Cache::builder_shared(Arc::clone(&remote)).clock(TokioClock::new());
        let near = builder().near(memory(TokioClock::new())).near_max_age(60 * SEC).build();
        let plain = builder().build();
        inner(&near, "tag").await;
        plain.invalidate_tag(tag).await.unwrap();
        let loads = Count::new();
        let (of_load, counted) = (near.clone(), loads.clone());
        let made = move |_: Cache| async move {
            let part = of_load.with_namespace("inner").with_tags(["tag"]);
            *part.get_or_load("tag", counted.loading(2_u32)).await.unwrap()
        };
        outer(&plain.with_tags(["tag"]), made).await;
        assert_eq!(loads.get(), 0, "a near copy");
        assert_eq!(is_stored(&plain).await, tag == "another");
    }
}

#[tokio::test(start_paused = true)]
async fn a_spawned_task_contributes_on_request() {
    for cache in caches() {
        for handed_on in [false, true] {
            let made = move |cache: Cache| async move {
                let part = async move { inner(&cache, "tag").await };
                let task = if handed_on {
                    tokio::spawn(in_current_load(part))
                } else {
                    tokio::spawn(part)
                };
                task.await.unwrap()
            };
            outer(&cache, made).await;
            assert!(is_stored(&cache).await);
            cache.invalidate_tag("tag").await.unwrap();
            assert_eq!(is_stored(&cache).await, !handed_on);
            cache.clear_all().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_can_be_left_out() {
    for cache in caches() {
        let made = |cache: Cache| async move {
            let looked_up = cache.policy_with(|policy| policy.with_contributes(false));
            inner(&looked_up, "tag").await
        };
        for _warm in [false, true] {
            outer(&cache, made).await;
            cache.invalidate_tag("tag").await.unwrap();
            assert!(is_stored(&cache).await);
            cache.delete("outer").await.unwrap();
            inner(&cache, "tag").await;
        }
    }
}

/// Keeps the errors of values that were not stored.
#[derive(Debug, Clone, Default)]
struct NotStored(Arc<std::sync::Mutex<Vec<ErrorKind>>>);

impl Observer for NotStored {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::StoreFailed { error, .. } = event {
            self.0.lock().unwrap().push(error.kind());
        }
    }
}

/// A tag is never left out, so a value with more tags than it can carry is not stored.
#[tokio::test(start_paused = true)]
async fn a_value_with_more_tags_than_it_can_carry_is_not_stored() {
    let observed = NotStored::default();
    let cache = local(&ManualClock::new()).observer(observed.clone()).build();
    for count in [256_usize, 257] {
        let made = move |cache: Cache| async move {
            for at in 0..count {
                inner(&cache, &format!("tag:{at}")).await;
            }
            0
        };
        outer(&cache, made).await;
        assert_eq!(is_stored(&cache).await, count == 256);
        cache.invalidate_tag("tag:0").await.unwrap();
        assert!(!is_stored(&cache).await);
    }
    assert_eq!(*observed.0.lock().unwrap(), [ErrorKind::Other]);
}

#[tokio::test(start_paused = true)]
async fn tags_of_another_cache_cannot_be_carried() {
    let (cache, another) = (over(&Remote::new()).build(), over(&Remote::new()).build());
    for tag in [None, Some("tag")] {
        let part = another.with_namespace("part").with_tags(tag);
        let made = move |_: Cache| async move { *part.get_or_load("part", Count::new().loading(1_u32)).await.unwrap() };
        outer(&cache, made).await;
        assert_eq!(is_stored(&cache).await, tag.is_none());
        cache.delete("outer").await.unwrap();
        another.clear_all().await.unwrap();
    }
}

/// Callers that have waited for a value that cannot be stored do not load one after the other.
#[tokio::test(start_paused = true)]
async fn callers_of_a_value_with_foreign_tags_do_not_queue() {
    let (cache, another) = (over(&Remote::new()).build(), over(&Remote::new()).build());
    let (gate, loads) = (Gate::closed(), Count::new());
    let ask = || {
        let (cache, another, gate, loads) = (cache.clone(), another.clone(), gate.clone(), loads.clone());
        let load = move || async move {
            loads.up();
            gate.pass().await;
            Ok::<_, Infallible>(inner(&another, "tag").await)
        };
        tokio::spawn(async move { cache.get_or_load("outer", load).await.map(drop) })
    };
    let asking = [ask(), ask(), ask()];
    gate.reached().await;
    idle().await;
    assert_eq!(loads.get(), 1);
    gate.admit(1);
    idle().await;
    assert_eq!(loads.get(), 3, "the others load at the same time");
    gate.open();
    for asking in asking {
        asking.await.unwrap().unwrap();
    }
}

/// Two handles of one store and prefix are one cache, whichever builder made them.
#[tokio::test(start_paused = true)]
async fn tags_of_another_handle_of_the_store_are_carried() {
    let remote: Arc<dyn cache_core::Backend> = Arc::new(Remote::new());
    let build = || {
        Cache::builder_shared(Arc::clone(&remote))
            .clock(TokioClock::new())
            .build()
    };
    let (cache, another) = (build(), build());
    let of_load = another.clone();
    outer(&cache, move |_| async move { inner(&of_load, "tag").await }).await;
    assert!(is_stored(&cache).await);
    another.invalidate_tag("tag").await.unwrap();
    assert!(!is_stored(&cache).await);
}

/// The tags of a part that was loaded while the store did not answer are not known, so they could be missed.
#[tokio::test(start_paused = true)]
async fn a_part_of_an_outage_does_not_lose_its_tags() {
    for tag in [None, Some("tag")] {
        let remote = Remote::new();
        let cache = over(&remote).breaker(1_000, SEC).build();
        let part = cache.with_namespace("part").with_tags(tag);
        let of_load = remote.clone();
        let made = move |_: Cache| async move {
            of_load.always(Fate::Fail(ErrorKind::Unavailable));
            let value = *part.get_or_load("part", Count::new().loading(1_u32)).await.unwrap();
            of_load.always(Fate::Pass);
            value
        };
        outer(&cache, made).await;
        assert_eq!(is_stored(&cache).await, tag.is_none());
    }
}

/// No call of the store is made to join tags.
#[tokio::test(start_paused = true)]
async fn joining_takes_no_round_trip() {
    let mut calls = Vec::new();
    for contributes in [false, true] {
        let remote = Remote::new();
        let cache = over(&remote).build();
        inner(&cache, "tag").await;
        remote.take_calls();
        let made = move |cache: Cache| async move {
            inner(&cache.policy_with(|policy| policy.with_contributes(contributes)), "tag").await
        };
        outer(&cache, made).await;
        calls.push(remote.take_calls().len());
    }
    assert_eq!(calls[0], calls[1]);
}

/// The record of a tag outlives the entries that get it from a part.
#[tokio::test(start_paused = true)]
async fn a_tag_lasts_for_the_stale_windows_of_the_whole() {
    let hour = Duration::from_secs(60 * 60);
    for (tag, is_usable) in [("another", true), ("tag", false)] {
        let remote = Remote::new();
        let cache = over(&remote).build();
        let of_load = cache.clone();
        let load = move || async move { Ok::<_, Infallible>(inner(&of_load, "tag").await) };
        let pages = cache.policy_with(|policy| policy.with_stale_if_error(48 * hour));
        pages.get_or_load("outer", load).await.unwrap();
        idle().await;
        tokio::time::advance(24 * hour).await;
        cache.invalidate_tag(tag).await.unwrap();
        let failing = || async { Err::<u32, _>("down") };
        assert_eq!(pages.get_or_load("outer", failing).await.is_ok(), is_usable);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_confirmed_retains_the_tags_of_its_parts() {
    let clock = ManualClock::new();
    let cache = local(&clock).ttl(SEC).stale_if_error(60 * SEC).build();
    let of_load = cache.clone();
    outer(&cache, |cache| async move { inner(&cache, "tag").await }).await;
    clock.advance(2 * SEC);
    let confirmed = of_load
        .get_or_load_with("outer", |load| async move {
            Ok::<Loaded<u32>, Infallible>(load.stale().unwrap().not_modified())
        })
        .await;
    assert!(confirmed.unwrap().is_some());
    assert!(is_stored(&cache).await);
    cache.invalidate_tag("tag").await.unwrap();
    assert!(!is_stored(&cache).await);
}

#[test]
fn an_adapter_is_told_why() {
    assert!(!StoreOutcome::Uncarried.is_stored());
}
