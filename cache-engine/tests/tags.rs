//! Entries are invalidated by their tags, at a constant cost.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use cache_core::{Key, ManualClock, Prefix, SetOptions};
use cache_engine::{Cache, Load, Loaded};
use cache_memory::MemoryBackend;
use proptest::prelude::*;
use support::{Count, Fate, Gate, Log, MS, Remote, SEC, idle, load, local, memory, over};

/// A cache over a store of objects, one over a store that takes bytes only, and one over a store that cannot clear.
fn all() -> [Cache; 3] {
    [
        local(&support::TokioClock::new()).build(),
        over(&Remote::new()).build(),
        over(&Remote::without_clear()).build(),
    ]
}

async fn has(cache: &Cache, key: &str) -> bool {
    cache.get::<u32>(key).await.unwrap().is_some()
}

fn tag(name: &str) -> Key {
    Prefix::new("cache").namespace("").reserved("tag").key(name)
}

#[tokio::test(start_paused = true)]
async fn a_tag_invalidates_what_carries_it_in_all_namespaces_and_nothing_else() {
    for cache in all() {
        let (users, pages) = (cache.with_namespace("users"), cache.with_namespace("pages"));
        users.with_tags(["user:1"]).set("1", 1_u32).await.unwrap();
        users.with_tags(["user:11"]).set("11", 1_u32).await.unwrap();
        pages.with_tags(["user:1", "site"]).set("home", 1_u32).await.unwrap();
        pages
            .with_tags(["site"])
            .with_tags(["user:2"])
            .set("two", 1_u32)
            .await
            .unwrap();
        pages.set("plain", 1_u32).await.unwrap();

        cache.invalidate_tag("user:1").await.unwrap();
        assert!(!has(&users, "1").await && !has(&pages, "home").await);
        assert!(has(&users, "11").await && has(&pages, "two").await && has(&pages, "plain").await);

        cache.invalidate_tags(["user:2", "nobody's"]).await.unwrap();
        assert!(!has(&pages, "two").await && has(&users, "11").await);
        assert_eq!(
            pages
                .get_many::<u32, _>(["home", "two", "plain"])
                .await
                .unwrap()
                .iter()
                .flatten()
                .count(),
            1
        );
        // What is stored afterwards lives.
        users.with_tags(["user:1"]).set("1", 2_u32).await.unwrap();
        assert!(has(&users, "1").await);
    }
}

/// A tag may have any name, those that look like the engine's own included.
#[tokio::test(start_paused = true)]
async fn names_of_tags_do_not_get_in_each_others_way() {
    let names = [
        "",
        "a",
        "a:b",
        "\0namespace",
        "\0prefix",
        "\0\0namespace",
        "ä",
        "!tag",
        "%3A",
    ];
    for cache in all() {
        for name in names {
            for other in names {
                cache.with_tags([other]).set(other, 1_u32).await.unwrap();
            }
            cache.invalidate_tag(name).await.unwrap();
            for other in names {
                assert_eq!(has(&cache, other).await, other != name, "{name:?} and {other:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_record_of_a_tag_means_changed() {
    for remote in [Remote::new(), Remote::without_clear()] {
        let cache = over(&remote).build();
        let tagged = cache.with_tags(["a", "b"]);
        tagged.set("key", 1_u32).await.unwrap();
        assert!(has(&cache, "key").await);
        assert!(remote.remove(&tag("b")).await);
        assert!(!has(&cache, "key").await);
        // And when it has been begun anew, what carries the lost one stays out of use.
        tagged.set("other", 1_u32).await.unwrap();
        assert!(has(&cache, "other").await && !has(&cache, "key").await);
        let loads = Count::new();
        tagged.get_or_load("key", loads.loading(2_u32)).await.unwrap();
        tagged.get_or_load("key", loads.loading(3_u32)).await.unwrap();
        assert_eq!(loads.get(), 1);
    }
}

#[tokio::test]
async fn clocks_that_differ_by_minutes_change_nothing() {
    let store = Remote::over(memory(support::TokioClock::new()));
    let (slow, fast) = (ManualClock::new(), ManualClock::new());
    fast.advance(Duration::from_secs(300));
    let make = |clock: &ManualClock| Cache::builder(store.clone()).clock(clock.clone()).ttl(None).build();
    let (slow, fast) = (make(&slow), make(&fast));
    for (writer, other) in [(&slow, &fast), (&fast, &slow)] {
        for soft in [false, true] {
            writer.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
            assert!(has(writer, "key").await && has(other, "key").await);
            if soft {
                other.soft().invalidate_tag("tag").await.unwrap();
            } else {
                other.invalidate_tag("tag").await.unwrap();
            }
            assert!(!has(writer, "key").await && !has(other, "key").await);
            // What was stored after the invalidation is good, though its writer's clock says that it was before.
            writer.with_tags(["tag"]).set("key", 2_u32).await.unwrap();
            assert!(has(writer, "key").await && has(other, "key").await);
        }
    }
}

#[tokio::test]
async fn storage_is_one_record_for_each_tag() {
    let clock = ManualClock::new();
    let store: MemoryBackend = memory(clock.clone());
    let cache = Cache::builder(store.clone()).clock(clock.clone()).ttl(SEC).build();
    // Ten entries of each tag come and go, ten times.
    for round in 0..10_u32 {
        for n in 0..10_000_u32 {
            let tagged = cache.with_tags([format!("tag {}", n % 1_000)]);
            tagged.set(&format!("{round} {n}"), n).await.unwrap();
        }
        for n in 0..500 {
            cache.invalidate_tag(format!("tag {n}")).await.unwrap();
        }
        clock.advance(2 * SEC);
        store.purge_expired();
    }
    assert_eq!(store.stats().entries, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_a_loader_adds_is_captured_before_its_data_are_read() {
    for cache in all() {
        let gate = Gate::closed();
        let load = {
            let gate = gate.clone();
            |load: Load<String>| async move {
                let read = || async move {
                    gate.pass().await;
                    "old".to_owned()
                };
                Ok::<_, Infallible>(Loaded::new(load.tagged(["author:7"], read).await))
            }
        };
        let loading = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get_or_load_with("page", load).await.unwrap().unwrap() }
        });
        gate.reached().await;
        let joiner = tokio::spawn({
            let cache = cache.clone();
            let load = || async { Ok::<_, Infallible>("new".to_owned()) };
            async move { cache.get_or_load("page", load).await.unwrap() }
        });
        idle().await;
        cache.invalidate_tag("author:7").await.unwrap();
        gate.open();
        assert_eq!(*loading.await.unwrap(), "old");
        assert_eq!(*joiner.await.unwrap(), "new");
        assert_eq!(*cache.get::<String>("page").await.unwrap().unwrap(), "new");
    }
}

/// The negative control of the test above: captured after its data were read, a tag lets the old value through.
#[tokio::test(start_paused = true)]
async fn captured_too_late_it_would_let_old_data_through() {
    for cache in all() {
        let inner = cache.clone();
        let load = |load: Load<String>| async move {
            let read = "old".to_owned();
            inner.invalidate_tag("author:7").await.unwrap();
            load.tagged(["author:7"], || async {}).await;
            Ok::<_, Infallible>(Loaded::new(read))
        };
        cache.get_or_load_with("page", load).await.unwrap();
        assert_eq!(*cache.get::<String>("page").await.unwrap().unwrap(), "old");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_modified_keeps_the_tags_that_its_loader_added() {
    for cache in all() {
        let cache = cache.with_policy(cache.policy().with_ttl(SEC).with_stale_if_error(60 * SEC));
        let first = |load: Load<u32>| async move {
            Ok::<_, Infallible>(Loaded::new(load.tagged(["author:7"], || async { 1_u32 }).await))
        };
        cache.get_or_load_with("page", first).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        let again = |load: Load<u32>| async move { Ok::<_, Infallible>(load.stale().unwrap().not_modified()) };
        cache.get_or_load_with("page", again).await.unwrap();
        assert!(has(&cache, "page").await);
        cache.invalidate_tag("author:7").await.unwrap();
        assert!(!has(&cache, "page").await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_cannot_be_captured_keeps_the_value_from_being_stored() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    remote.once(Fate::Fail(cache_core::ErrorKind::Unavailable), |call| {
        call.is("get_many")
    });
    let load = |load: Load<u32>| async move {
        Ok::<_, Infallible>(Loaded::new(load.tagged(["tag"], || async { 1_u32 }).await))
    };
    assert_eq!(*cache.get_or_load_with("key", load).await.unwrap().unwrap(), 1);
    assert!(!has(&cache, "key").await);
    assert!(remote.leases().await.is_empty(), "and nobody waits for it");
}

#[tokio::test(start_paused = true)]
async fn known_versions_are_remembered_for_no_longer_than_the_user_allows() {
    for make in [Remote::new, Remote::without_clear] {
        let remote = make();
        let here = over(&remote).tag_cache_ttl(100 * MS).build();
        let there = over(&remote).build();
        here.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
        assert!(has(&here, "key").await);
        remote.take_calls();
        assert!(has(&here, "key").await);
        let calls: Vec<_> = remote.take_calls().into_iter().map(|call| call.operation).collect();
        assert_eq!(calls, ["get"], "nothing but the entry is read");

        there.invalidate_tag("tag").await.unwrap();
        assert!(has(&here, "key").await, "not noticed yet");
        tokio::time::advance(100 * MS).await;
        assert!(!has(&here, "key").await);

        // What this process invalidates itself, it notices at once.
        here.with_tags(["tag"]).set("key", 2_u32).await.unwrap();
        assert!(has(&here, "key").await);
        here.invalidate_tag("tag").await.unwrap();
        assert!(!has(&here, "key").await);
    }
}

/// The answer to an own invalidation may come after another process has invalidated the tag too.
#[tokio::test(start_paused = true)]
async fn an_own_version_is_remembered_from_when_it_was_written() {
    let remote = Remote::new();
    let here = over(&remote).tag_cache_ttl(100 * MS).build();
    let there = over(&remote).build();
    let answer = Gate::closed();
    remote.once(Fate::HoldAnswer(answer.clone()), |call| call.is("set"));
    let invalidating = tokio::spawn({
        let here = here.clone();
        async move { here.invalidate_tag("tag").await }
    });
    answer.reached().await;
    // It carries the version whose write is not answered yet.
    there.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
    there.invalidate_tag("tag").await.unwrap();
    tokio::time::advance(100 * MS).await;
    answer.open();
    invalidating.await.unwrap().unwrap();
    assert!(!has(&here, "key").await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a model: an entry is there if none of its tags was invalidated after it was stored.
    #[test]
    fn any_sequence_of_stores_and_invalidations(
        steps in prop::collection::vec((any::<bool>(), 0..4_usize, prop::collection::btree_set(0..4_usize, 0..4)), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let remote = Remote::new();
            let [here, there] = [(); 2].map(|()| over(&remote).build());
            let mut model: [Option<std::collections::BTreeSet<usize>>; 4] = Default::default();
            for (stores, key, tags) in steps {
                let names = tags.iter().map(|tag| format!("tag {tag}"));
                if stores {
                    here.with_tags(names).set(&key.to_string(), 1_u32).await.unwrap();
                    model[key] = Some(tags);
                } else {
                    there.invalidate_tags(names).await.unwrap();
                    for entry in &mut model {
                        entry.take_if(|carried| !carried.is_disjoint(&tags));
                    }
                }
                for (key, entry) in model.iter().enumerate() {
                    assert_eq!(has(&there, &key.to_string()).await, entry.is_some());
                }
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_outdated_by_a_tag_is_taken_over_also_beside_a_record() {
    let remote = Remote::without_clear();
    let make = || {
        over(&remote)
            .ttl(SEC)
            .stale_while_revalidate(60 * SEC)
            .build()
            .with_tags(["tag"])
    };
    let (here, there) = (make(), make());
    here.set("key", "1".to_owned()).await.unwrap();
    tokio::time::advance(2 * SEC).await;
    let gate = Gate::closed();
    let refresh = Ok::<_, Infallible>("2");
    load(&here, Some(&gate), &Count::new(), refresh).await.unwrap();
    gate.reached().await;
    here.invalidate_tag("tag").await.unwrap();
    let loaded = load(&there, None, &Count::new(), Ok::<_, Infallible>("3"));
    let new = tokio::time::timeout(SEC, loaded).await;
    assert_eq!(
        *new.expect("the refresh that was overtaken is not waited for").unwrap(),
        "3"
    );
    gate.open();
    idle().await;
    assert!(remote.leases().await.is_empty());
    assert_eq!(*here.get::<String>("key").await.unwrap().unwrap(), "3");
}

/// The stale copy was found to be usable after the load failed, and is invalidated before those who wait are given it.
#[tokio::test(start_paused = true)]
async fn a_stale_copy_is_not_shared_after_one_of_its_own_tags_was_invalidated() {
    let remote = Remote::new();
    let make = || over(&remote).ttl(SEC).stale_if_error(60 * SEC).build();
    let (here, there) = (make(), make());
    let tagged =
        |load: Load<u32>| async move { Ok::<_, &str>(Loaded::new(load.tagged(["tag"], || async { 1_u32 }).await)) };
    here.get_or_load_with("key", tagged).await.unwrap();
    tokio::time::advance(2 * SEC).await;

    let failing = |gate: Option<Gate>| {
        let here = here.clone();
        tokio::spawn(async move {
            let load = |_: Load<u32>| async move {
                if let Some(gate) = gate {
                    gate.pass().await;
                }
                Err::<Loaded<u32>, _>("down")
            };
            here.get_or_load_with("key", load).await
        })
    };
    let (loading, checked) = (Gate::closed(), Gate::closed());
    let leader = failing(Some(loading.clone()));
    loading.reached().await;
    remote.once(Fate::HoldAnswer(checked.clone()), |call| call.is("get_many"));
    loading.open();
    checked.reached().await;
    there.invalidate_tag("tag").await.unwrap();
    let joiner = failing(None);
    idle().await;
    checked.open();
    leader.await.unwrap().unwrap();
    joiner.await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_tag_that_cannot_be_read_counts_as_changed_and_is_an_event() {
    let (remote, log) = (Remote::new(), Log::new());
    let writer = over(&remote).build().with_tags(["tag"]);
    writer.set("key", 1_u32).await.unwrap();
    // It has read no version of the tag so far.
    let reader = over(&remote).observer(log.clone()).build();
    let garbage = &b"somebody else's"[..];
    remote.plant(&tag("tag"), garbage, SetOptions::new(60 * SEC)).await;
    assert!(!has(&reader, "key").await);
    assert_eq!((log.count("decode_failed"), reader.stats().decode_failures), (1, 1));

    // The next entry with the tag begins a new version.
    over(&remote)
        .build()
        .with_tags(["tag"])
        .set("key", 2_u32)
        .await
        .unwrap();
    assert!(has(&reader, "key").await);
    assert_eq!(log.count("decode_failed"), 1);
}
