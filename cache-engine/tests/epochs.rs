//! Clearing namespaces in a store that cannot enumerate its records.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_engine::cache_core::{Backend, Error, Key, Record, SetOptions, SetOutcome, Value, async_trait};
use cache_engine::{Cache, Event};
use cache_memory::MemoryBackend;
use support::Gate;
use tokio::sync::Notify;

/// A store that takes bytes only and cannot enumerate: the required methods of another one, counted.
#[derive(Debug, Clone, Default)]
struct Plain {
    store: MemoryBackend,
    writes: Arc<AtomicUsize>,
    /// Where the next batch stops before it reads its first key, all others being read.
    torn: Arc<Mutex<Option<Gate>>>,
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

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        let gate = self.torn.lock().unwrap().take();
        let mut records = self.store.get_many(&keys[1..]).await?;
        if let Some(gate) = gate {
            gate.pass().await;
        }
        records.insert(0, self.store.get(&keys[0]).await?);
        Ok(records)
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

/// A batch is not read at one moment, and what was remembered is older still.
#[tokio::test]
async fn an_entry_is_not_loaded_again_since_its_epochs_were_read_before_it_was_written() {
    for cleared in [false, true] {
        let (store, here, there) = caches();
        let loads = Arc::new(AtomicUsize::new(0));
        let load = |cache: &Cache| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            async move {
                let load = async move || Ok::<_, Infallible>(loads.fetch_add(1, Ordering::SeqCst));
                *cache.get_or_load("a", load).await.unwrap()
            }
        };
        if cleared {
            load(&there).await;
        }
        let gate = Gate::closed();
        *store.torn.lock().unwrap() = Some(gate.clone());
        let reader = tokio::spawn(load(&there));
        gate.reached().await;
        if cleared {
            here.clear_all().await.unwrap();
        }
        let loaded = load(&here).await;
        gate.open();
        assert_eq!(reader.await.unwrap(), loaded);
        assert_eq!(loads.load(Ordering::SeqCst), 1 + usize::from(cleared));
    }
}

#[tokio::test]
async fn an_entry_is_not_loaded_again_since_its_epochs_are_remembered_from_before() {
    let store = Plain::default();
    let cache = || {
        Cache::builder(store.clone())
            .tag_cache_ttl(Duration::from_secs(3600))
            .build()
    };
    let (here, there) = (cache(), cache());
    there.set("a", 1_u32).await.unwrap();
    here.clear_all().await.unwrap();
    here.set("a", 2_u32).await.unwrap();
    assert_eq!(there.get::<u32>("a").await.unwrap().as_deref(), Some(&2));
}
