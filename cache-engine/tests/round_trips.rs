//! The number of store operations of each call: what a service pays for on the network.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::FreshnessWindows;
use cache_engine::{Cache, Lookup};
use support::{Count, Remote, TokioClock, memory, over};

/// The calls of the store that `work` leads to, by their names.
async fn calls<F: Future>(remote: &Remote, work: F) -> Vec<&'static str> {
    remote.take_calls();
    work.await;
    remote.take_calls().into_iter().map(|call| call.operation).collect()
}

async fn load(cache: &Cache, key: &str) {
    cache.get_or_load(key, Count::new().loading(1_u32)).await.unwrap();
}

async fn load_many(cache: &Cache, ids: [u32; 3]) {
    let load =
        |ids: Vec<u32>| async move { Ok::<_, std::convert::Infallible>(ids.into_iter().map(|id| (id, id)).collect()) };
    cache.get_or_load_many(ids, load).await.unwrap();
}

const TAGS: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];

/// The calls of a hit whose tags are remembered, and so are the epochs where there are any.
async fn remembered_hit(remote: &Remote) -> Vec<&'static str> {
    let remembering = over(remote).tag_cache_ttl(Duration::from_secs(1)).build();
    load(&remembering.with_tags(TAGS), "b").await;
    load(&remembering, "b").await;
    calls(remote, load(&remembering, "b")).await
}

#[tokio::test(start_paused = true)]
async fn a_store_that_enumerates() {
    let remote = Remote::new();
    let cache = over(&remote)
        .ttl(Duration::from_secs(10))
        .stale_while_revalidate(Duration::from_secs(10))
        .build();
    let miss = ["get", "set", "set"];
    assert_eq!(calls(&remote, load(&cache, "a")).await, miss, "look, lease, fill");
    assert_eq!(calls(&remote, load(&cache, "a")).await, ["get"], "a hit");
    assert_eq!(calls(&remote, cache.get::<u32>("a")).await, ["get"]);
    assert_eq!(calls(&remote, cache.set("a", 2_u32)).await, ["set"]);
    assert_eq!(calls(&remote, cache.soft().invalidate("a")).await, ["get", "set"]);
    assert_eq!(calls(&remote, cache.invalidate("a")).await, ["delete"]);
    assert_eq!(calls(&remote, cache.clear("")).await, ["clear"]);
    let batch = calls(&remote, load_many(&cache, [1, 2, 3])).await;
    assert_eq!(
        batch,
        ["get_many", "set", "set", "set", "set", "set", "set"],
        "one read, and the writes side by side"
    );
    assert_eq!(calls(&remote, load_many(&cache, [1, 2, 3])).await, ["get_many"]);

    tokio::time::advance(Duration::from_secs(11)).await;
    let refresh = calls(&remote, async {
        load(&cache, "1").await;
        cache.shutdown().await;
    });
    assert_eq!(
        refresh.await,
        ["get", "set", "version", "set", "delete_if"],
        "look; then lease, check, fill, release"
    );
}

#[tokio::test]
async fn a_store_that_cannot_enumerate() {
    let remote = Remote::without_clear();
    let cache = over(&remote).build();
    load(&cache, "the epochs of the namespace exist from here on").await;
    let miss = ["get_many", "get_many", "set", "set"];
    assert_eq!(
        calls(&remote, load(&cache, "a")).await,
        miss,
        "look, epochs, lease, fill"
    );
    assert_eq!(
        calls(&remote, load(&cache, "a")).await,
        ["get_many"],
        "a hit: entry and epochs in one batch"
    );
    assert_eq!(
        calls(&remote, cache.set("a", 2_u32)).await,
        ["set", "get_many"],
        "at the same time the epochs, which are expected to be as they were"
    );
    assert_eq!(cache.get::<u32>("a").await.unwrap().as_deref(), Some(&2));
    assert_eq!(calls(&remote, cache.invalidate("a")).await, ["delete"]);
    assert_eq!(
        calls(&remote, cache.clear("")).await,
        ["set"],
        "however many entries there are"
    );
    // As another process does.
    over(&remote).build().clear("").await.unwrap();
    assert_eq!(
        calls(&remote, cache.set("a", 3_u32)).await,
        ["set", "get_many", "get_many", "set"],
        "they were not, so it is written again"
    );
    assert_eq!(cache.get::<u32>("a").await.unwrap().as_deref(), Some(&3));
}

#[tokio::test(start_paused = true)]
async fn tags_in_a_store_that_cannot_enumerate() {
    let remote = Remote::without_clear();
    let cache = over(&remote)
        .ttl(Duration::from_secs(10))
        .stale_while_revalidate(Duration::from_secs(10))
        .build();
    let tagged = cache.with_tags(TAGS);
    load(&tagged, "the records of the tags exist from here on").await;
    assert_eq!(
        calls(&remote, load(&tagged, "a")).await,
        ["get_many", "get_many", "set", "set"],
        "look, epochs and tags, lease, fill"
    );
    assert_eq!(
        calls(&remote, load(&tagged, "a")).await,
        ["get_many", "get_many"],
        "a hit: entry and epochs, tags"
    );
    assert_eq!(calls(&remote, cache.soft().invalidate("a")).await, ["get", "set"]);
    assert_eq!(calls(&remote, cache.invalidate_tag("1")).await, ["get_many", "set"]);
    assert_eq!(
        calls(&remote, cache.soft().invalidate_tag("1")).await,
        ["get_many", "set"]
    );
    assert_eq!(calls(&remote, cache.soft().clear("")).await, ["get", "set"]);

    assert_eq!(
        remembered_hit(&remote).await,
        ["get"],
        "a hit whose tags and epochs are remembered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_near_tier() {
    let second = Duration::from_secs(1);
    for remote in [Remote::new(), Remote::without_clear()] {
        let cache = over(&remote)
            .near(memory(TokioClock::new()))
            .near_max_age(second)
            .build();
        for (key, cache) in [("plain", cache.clone()), ("tagged", cache.with_tags(["1"]))] {
            load(&cache, key).await;
            let none: [&str; 0] = [];
            assert_eq!(calls(&remote, load(&cache, key)).await, none, "{key}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tags() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    let tagged = cache.with_tags(TAGS);
    load(&tagged, "the records of the tags exist from here on").await;
    assert_eq!(
        calls(&remote, load(&tagged, "a")).await,
        ["get", "get_many", "set", "set"],
        "look, tags, lease, fill"
    );
    assert_eq!(
        calls(&remote, load(&tagged, "a")).await,
        ["get", "get_many"],
        "a hit with eight tags is one batch more"
    );
    let ids = ["a", "the records of the tags exist from here on"];
    assert_eq!(
        calls(&remote, cache.get_many::<u32, _>(ids)).await,
        ["get_many", "get_many"],
        "and so are many"
    );
    assert_eq!(
        calls(&remote, cache.invalidate_tag("1")).await,
        ["get_many", "set"],
        "whether anybody is to be told, the tag"
    );
    assert_eq!(
        calls(&remote, cache.invalidate_tags(TAGS)).await,
        ["get_many", "set", "set", "set", "set", "set", "set", "set", "set"],
        "and one batch, which this store carries out one by one"
    );
    assert_eq!(
        calls(&remote, cache.soft().invalidate_tag("1")).await,
        ["get_many", "set"],
        "the tag's record in the same batch, the tag"
    );
    assert_eq!(
        calls(&remote, cache.soft().invalidate("a")).await,
        ["get", "delete_if"],
        "nothing to keep"
    );

    assert_eq!(
        remembered_hit(&remote).await,
        ["get"],
        "a hit whose tags are remembered"
    );
}

#[tokio::test(start_paused = true)]
async fn batches() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    let entries = [("1", 1_u32), ("2", 2), ("3", 3)];
    let written = ["set", "set", "set"];
    assert_eq!(
        calls(&remote, cache.set_many(entries)).await,
        written,
        "one batch, which this store writes one by one"
    );
    let tagged = cache.with_tags(TAGS);
    tagged
        .set("the records of the tags exist from here on", 1_u32)
        .await
        .unwrap();
    assert_eq!(
        calls(&remote, tagged.set_many(entries)).await,
        ["get_many", "set", "set", "set"],
        "the tags once"
    );
    let invalidated = calls(&remote, cache.invalidate_many(["1", "2", "3"])).await;
    assert_eq!(
        invalidated,
        ["delete", "delete", "delete"],
        "one batch, which this store carries out one by one"
    );

    let load = |ids: Vec<u32>| async move {
        let loaded = ids.into_iter().map(|id| (id, Ok(cache_engine::Loaded::new(id))));
        Ok::<cache_engine::LoadedMany<_, _, std::convert::Infallible>, _>(loaded.collect())
    };
    let by_id = |id: &u32| [format!("{}", id % 8 + 1), "1".to_owned()];
    let batch = tagged.many([1, 2, 3]).tags_by(by_id).get_or_load(load);
    assert_eq!(
        calls(&remote, batch).await,
        ["get_many", "get_many", "set", "set", "set", "set", "set", "set"],
        "look, the tags of all in one batch, leases, fills"
    );
    assert_eq!(
        calls(&remote, cache.many([1, 2, 3]).get_or_load(load)).await,
        ["get_many", "get_many"],
        "hits, tags"
    );
    let refresh = calls(&remote, tagged.many([1, 2]).tags_by(by_id).refresh(load)).await;
    assert_eq!(refresh[..2], ["get_many", "get_many"], "look, tags");
    assert_eq!(
        refresh.iter().filter(|call| **call == "get_many").count(),
        3,
        "and the tags of what was found"
    );
}

#[tokio::test(start_paused = true)]
async fn tags_that_are_known_only_after_the_load() {
    let remote = Remote::new();
    let cache = over(&remote).ttl(Duration::from_secs(10)).build();
    let late = cache.adapter().with_late_tags(true);
    let load = async |key: &str| {
        let Lookup::Miss(mut fill) = late.adapter().lookup::<u32>(&late.key(key)).await else {
            panic!("it is not there yet");
        };
        fill.add_late_tags(TAGS).await;
        let stored = fill.store(
            Arc::new(1),
            late.adapter().coder(),
            FreshnessWindows::new(Duration::from_secs(10)),
        );
        assert!(stored.await.is_stored());
    };
    load("the records of the tags exist from here on").await;
    assert_eq!(
        calls(&remote, load("a")).await,
        ["get", "get_many", "set", "get_many", "get_many", "set"],
        "look, when it begins, lease; tags, whether they were invalidated, fill"
    );
    assert_eq!(
        calls(&remote, cache.invalidate_tag("1")).await,
        ["get_many", "set", "set", "set"],
        "the first one after a load tells loads of it: the tag's page and the sequence in one batch"
    );
    assert_eq!(
        calls(&remote, cache.invalidate_tag("1")).await,
        ["get_many", "set"],
        "there is nothing new to tell"
    );
    assert_eq!(
        calls(&remote, load("b")).await,
        ["get", "get_many", "set", "set", "get_many", "get_many", "set"],
        "the first load after an invalidation moves the sequence on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_reads_or_adds_in_one_call() {
    let remote = Remote::new().getting_or_adding();
    let cache = over(&remote)
        .ttl(Duration::from_secs(10))
        .stale_while_revalidate(Duration::from_secs(10))
        .build();
    let miss = ["get_or_add", "set"];
    assert_eq!(calls(&remote, load(&cache, "a")).await, miss, "look and lease, fill");
    assert_eq!(calls(&remote, load(&cache, "a")).await, ["get_or_add"], "a hit");
    assert_eq!(calls(&remote, load(&cache, "a")).await, ["get"], "a hit again");
    cache.invalidate("a").await.unwrap();
    let known = ["get", "set", "set"];
    assert_eq!(calls(&remote, load(&cache, "a")).await, known, "it was expected there");
    cache.invalidate("a").await.unwrap();
    assert_eq!(calls(&remote, load(&cache, "a")).await, miss, "it was not");
    assert_eq!(calls(&remote, load(&cache, "a")).await, ["get_or_add"]);
    assert_eq!(calls(&remote, cache.get::<u32>("a")).await, ["get"]);
    let lookup = calls(&remote, async {
        let key = cache.key("b");
        let Lookup::Miss(fill) = cache.adapter().lookup::<u32>(&key).await else {
            panic!("it is not there yet");
        };
        let stored = fill.store(
            Arc::new(1),
            cache.adapter().coder(),
            FreshnessWindows::new(Duration::from_secs(10)),
        );
        assert!(stored.await.is_stored());
    });
    assert_eq!(lookup.await, miss, "an adapter");

    tokio::time::advance(Duration::from_secs(11)).await;
    let refresh = calls(&remote, async {
        load(&cache, "a").await;
        cache.shutdown().await;
    });
    assert_eq!(
        refresh.await,
        ["get_or_add", "set", "version", "set", "delete_if"],
        "look; then lease, check, fill, release"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_clear_and_reads_or_adds_in_one_call() {
    let remote = Remote::without_clear().getting_or_adding();
    let cache = over(&remote).build();
    load(&cache, "the versions of the namespace have been seen from here on").await;
    assert_eq!(
        calls(&remote, load(&cache, "a")).await,
        ["get_or_add", "get_many", "set"],
        "look and lease, at the same time the namespace; fill"
    );
    assert_eq!(
        calls(&remote, load(&cache, "a")).await,
        ["get_or_add", "get_many"],
        "a hit: both at the same time"
    );
    assert_eq!(calls(&remote, load(&cache, "a")).await, ["get_many"], "a hit again");
}

#[tokio::test(start_paused = true)]
async fn tags_in_a_store_that_reads_or_adds_in_one_call() {
    for remote in [Remote::new(), Remote::without_clear()] {
        let remote = remote.getting_or_adding();
        let cache = over(&remote).build();
        let tagged = cache.with_tags(TAGS);
        load(&tagged, "the versions of the tags have been seen from here on").await;
        assert_eq!(
            calls(&remote, load(&tagged, "a")).await,
            ["get_or_add", "get_many", "set"],
            "look and lease, at the same time tags; fill"
        );
        assert_eq!(
            calls(&remote, load(&tagged, "a")).await,
            ["get_or_add", "get_many"],
            "a hit: both at the same time"
        );
        // As another process does.
        over(&remote).build().invalidate_tag("1").await.unwrap();
        assert_eq!(
            calls(&remote, load(&tagged, "b")).await,
            ["get_or_add", "get_many", "get_many", "set", "set"],
            "the tags have changed, so the lease is renewed with them"
        );
        assert_eq!(
            calls(&remote, load(&tagged, "c")).await,
            ["get_or_add", "get_many", "set"],
            "and have been seen now"
        );
    }
}
