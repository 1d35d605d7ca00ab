//! Caches, prefixes and namespaces are isolated from each other.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use cache_core::Backend;
use cache_engine::Cache;
use cache_memory::MemoryBackend;
use support::{Count, Remote, over};

/// Names with what they are told apart by, and with what they could be confused by.
const NAMES: [&str; 12] = [
    "",
    "user",
    "users",
    "user:",
    "user:admin",
    "User",
    "*",
    "user*",
    "%3A",
    "!",
    "user!lease",
    "\0\u{fffd}",
];

async fn number(cache: &Cache, key: &str) -> Option<usize> {
    cache.get::<usize>(key).await.unwrap().map(|value| *value)
}

#[tokio::test]
async fn two_caches_in_one_process_share_nothing() {
    let [one, two] = [(); 2].map(|()| Cache::builder(MemoryBackend::default()).build());
    one.set("key", 1_usize).await.unwrap();
    assert_eq!(number(&two, "key").await, None);
    assert_eq!(*two.get_or_load("key", Count::new().loading(2_usize)).await.unwrap(), 2);
    two.clear_all().await.unwrap();
    two.set_enabled(false);
    assert_eq!(number(&one, "key").await, Some(1));
}

#[tokio::test]
async fn two_prefixes_on_one_store_share_nothing() {
    let store: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let caches = NAMES.map(|prefix| Cache::builder_shared(Arc::clone(&store)).prefix(prefix).build());
    for (at, cache) in caches.iter().enumerate() {
        cache.set("key", at).await.unwrap();
    }
    for (at, cache) in caches.iter().enumerate() {
        assert_eq!(number(cache, "key").await, Some(at));
    }
    for (at, cache) in caches.iter().enumerate() {
        assert_eq!(cache.clear_all().await.unwrap(), Some(1), "{:?}", NAMES[at]);
        assert_eq!(number(cache, "key").await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn clearing_a_namespace_keeps_to_its_boundary() {
    for cache in [
        Cache::builder(MemoryBackend::default()).build(),
        over(&Remote::new()).build(),
        over(&Remote::without_clear()).build(),
    ] {
        let counts = cache.backend().capabilities().clear;
        for (at, name) in NAMES.iter().enumerate() {
            let handle = cache.with_namespace(name);
            for key in NAMES {
                handle.set(key, at).await.unwrap();
            }
        }
        for (at, name) in NAMES.iter().enumerate() {
            let count = counts.then_some(NAMES.len() as u64);
            assert_eq!(cache.clear(name).await.unwrap(), count, "{name:?}");
            for (other, kept) in NAMES.iter().enumerate() {
                for key in NAMES {
                    let found = number(&cache.with_namespace(kept), key).await;
                    assert_eq!(
                        found,
                        (other > at).then_some(other),
                        "{name:?} cleared, {kept:?} {key:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_whole_key_means_the_same_in_every_handle() {
    let cache = Cache::builder(MemoryBackend::default()).namespace("things").build();
    let key = cache.key("key");
    assert_eq!((key.as_str(), key.name()), ("cache:things:key", "key"));
    cache.set("key", 1_usize).await.unwrap();
    let other = cache.with_namespace("others");
    assert_eq!(number(&other, "key").await, None);
    assert_eq!(*other.get::<usize>(&key).await.unwrap().unwrap(), 1);
    other.invalidate(key).await.unwrap();
    assert_eq!(number(&cache, "key").await, None);
    assert!(!cache.delete("key").await.unwrap(), "there is nothing left to delete");
}
