//! Clearing namespaces in a store that cannot enumerate its records.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache_engine::cache_core::{Backend, Error, Key, Record, SetOptions, SetOutcome, Value, async_trait};
use cache_engine::{Cache, Event};
use cache_memory::MemoryBackend;
use tokio::sync::Notify;

/// A store that takes bytes only and cannot enumerate: the required methods of another one, counted.
#[derive(Debug, Clone, Default)]
struct Plain {
    store: MemoryBackend,
    writes: Arc<AtomicUsize>,
}

#[async_trait]
impl Backend for Plain {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.store.get(key).await
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.store.set(key, value, options).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.store.delete(key).await
    }
}

/// Two processes' caches over one store.
fn caches() -> (Plain, Cache, Cache) {
    let store = Plain::default();
    let cache = || Cache::builder(store.clone()).build();
    (store.clone(), cache(), cache())
}

#[tokio::test]
async fn a_cleared_namespace_is_empty_for_everybody_and_others_are_not() {
    let (store, here, there) = caches();
    for (namespace, value) in [("user", 1_u32), ("users", 2), ("user:admin", 3), ("", 4)] {
        here.with_namespace(namespace).set("a", value).await.unwrap();
    }
    for n in 0..100_u32 {
        here.with_namespace("user").set(&n.to_string(), n).await.unwrap();
    }
    let before = store.writes.load(Ordering::SeqCst);
    assert_eq!(
        there.clear("user").await.unwrap(),
        None,
        "how many there were is not known"
    );
    assert_eq!(
        store.writes.load(Ordering::SeqCst) - before,
        1,
        "one record, however many entries"
    );

    let get = |cache: &Cache, namespace: &str| {
        let cache = cache.with_namespace(namespace);
        async move { cache.get::<u32>("a").await.unwrap().map(|value| *value) }
    };
    for cache in [&here, &there] {
        assert_eq!(get(cache, "user").await, None);
        assert_eq!(get(cache, "users").await, Some(2));
        assert_eq!(get(cache, "user:admin").await, Some(3));
        assert_eq!(get(cache, "").await, Some(4));
    }
    let user = here.with_namespace("user");
    assert_eq!(
        *user
            .get_or_load("a", || async { Ok::<_, Infallible>(5_u32) })
            .await
            .unwrap(),
        5
    );
    assert_eq!(get(&there, "user").await, Some(5), "what is stored afterwards is found");

    there.clear_all().await.unwrap();
    for namespace in ["user", "users", "user:admin", ""] {
        assert_eq!(get(&here, namespace).await, None);
    }
}

#[tokio::test]
async fn a_load_that_began_before_is_fenced_and_who_joined_it_looks_again() {
    let joined = Arc::new(Notify::new());
    let store = Plain::default();
    let there = Cache::builder(store.clone()).build();
    let here = {
        let joined = Arc::clone(&joined);
        let observer = move |event: &Event<'_>| {
            if matches!(event, Event::Coalesced { .. }) {
                joined.notify_one();
            }
        };
        Cache::builder(store).observer(observer).build()
    };
    let began = Arc::new(Notify::new());
    let gate = Arc::new(Notify::new());
    let loader = {
        let (began, gate, here) = (Arc::clone(&began), Arc::clone(&gate), here.clone());
        tokio::spawn(async move {
            let load = || async move {
                began.notify_one();
                gate.notified().await;
                Ok::<_, Infallible>("old".to_owned())
            };
            here.get_or_load("key", load).await.unwrap()
        })
    };
    began.notified().await;
    let joiner = {
        let here = here.clone();
        tokio::spawn(async move {
            here.get_or_load("key", || async { Ok::<_, Infallible>("new".to_owned()) })
                .await
        })
    };
    joined.notified().await;
    there.clear("").await.unwrap();
    gate.notify_one();
    assert_eq!(*loader.await.unwrap(), "old", "the starter keeps its value");
    assert_eq!(*joiner.await.unwrap().unwrap(), "new");
    assert_eq!(
        there.get::<String>("key").await.unwrap().as_deref().map(String::as_str),
        Some("new")
    );
}

#[tokio::test]
async fn a_lost_epoch_counts_as_changed() {
    let (store, here, _) = caches();
    here.set("key", 1_u32).await.unwrap();
    assert!(here.get::<u32>("key").await.unwrap().is_some());
    let epoch = here.namespace().reserved("epoch").key("");
    assert!(store.delete(&epoch).await.unwrap());
    assert_eq!(here.get::<u32>("key").await.unwrap(), None);
    assert_eq!(
        *here
            .get_or_load("key", || async { Ok::<_, Infallible>(2_u32) })
            .await
            .unwrap(),
        2
    );
    assert_eq!(here.get::<u32>("key").await.unwrap().as_deref(), Some(&2));
}

#[tokio::test]
async fn batches_obey_it_too() {
    let (_, here, there) = caches();
    let other = here.with_namespace("other");
    here.set("1", 1_u32).await.unwrap();
    other.set("1", 10_u32).await.unwrap();
    there.clear("").await.unwrap();
    let keys = [here.key("1"), other.key("1")];
    let values = there.get_many::<u32, _>(&keys).await.unwrap();
    assert_eq!(
        values.iter().map(|value| value.as_deref().copied()).collect::<Vec<_>>(),
        [None, Some(10)]
    );
    let load = |ids: Vec<u32>| async move { Ok::<_, Infallible>(ids.into_iter().map(|id| (id, 7_u32)).collect()) };
    assert_eq!(*here.get_or_load_many([1], load).await.unwrap()[&1], 7);
    assert_eq!(there.get::<u32>("1").await.unwrap().as_deref(), Some(&7));
}
