//! Invalidations of other tags, however many, do not prevent values with late tags from being stored, and they do not
//! all write the same record.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{
    Backend, Capabilities, Error, FreshnessWindows, Key, Record, SetOptions, SetOutcome, Value, Version, async_trait,
};
use cache_engine::{Cache, Lookup};
use cache_memory::MemoryBackend;
use support::{MS, SEC, TokioClock, memory};

/// A store elsewhere that counts what is read in each batch and how often each record is written. Each call takes a
/// millisecond.
#[derive(Debug, Clone)]
struct Counting {
    store: MemoryBackend,
    batches: Arc<Mutex<Vec<usize>>>,
    writes: Arc<Mutex<HashMap<String, usize>>>,
}

impl Counting {
    fn new() -> Self {
        Self {
            store: memory(TokioClock::new()),
            batches: Arc::default(),
            writes: Arc::default(),
        }
    }

    fn take_batches(&self) -> Vec<usize> {
        std::mem::take(&mut self.batches.lock().unwrap())
    }

    fn take_writes(&self) -> HashMap<String, usize> {
        std::mem::take(&mut self.writes.lock().unwrap())
    }

    fn cache(&self) -> Cache {
        Cache::builder(self.clone()).clock(TokioClock::new()).ttl(SEC).build()
    }
}

#[async_trait]
impl Backend for Counting {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        tokio::time::sleep(MS).await;
        self.store.get(key).await
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        Ok(self.set_many(vec![(key.clone(), value, options)]).await?[0])
    }

    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        tokio::time::sleep(MS).await;
        for (key, ..) in &entries {
            *self.writes.lock().unwrap().entry(key.as_str().to_owned()).or_default() += 1;
        }
        self.store.set_many(entries).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        self.batches.lock().unwrap().push(keys.len());
        tokio::time::sleep(MS).await;
        self.store.get_many(keys).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.store.delete(key).await
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.store.delete_if(key, version).await
    }

    fn name(&self) -> &'static str {
        "counting"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.store.capabilities();
        capabilities.shared_objects = false;
        capabilities
    }
}

/// Invalidates tags of other things, `per_second` of them, until it is dropped.
struct Invalidating(tokio::task::JoinHandle<()>);

impl Invalidating {
    fn other_tags(cache: &Cache, per_second: u32) -> Self {
        let cache = cache.clone();
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SEC / per_second);
            for n in 0_u64.. {
                ticks.tick().await;
                let cache = cache.clone();
                tokio::spawn(async move { cache.invalidate_tag(format!("other:{n}")).await.unwrap() });
            }
        }))
    }
}

impl Drop for Invalidating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks up `key`, or loads it within `time` and tags it afterwards. Tells whether it was a hit.
async fn look_up(late: &Cache, key: &str, tags: &[String], time: Duration) -> bool {
    match late.adapter().lookup::<u32>(&late.key(key)).await {
        Lookup::Hit { .. } => true,
        Lookup::Miss(mut fill) => {
            tokio::time::sleep(time).await;
            fill.add_late_tags(tags).await;
            fill.store(Arc::new(1), late.adapter().coder(), FreshnessWindows::new(SEC))
                .await;
            false
        }
        other => panic!("{other:?}"),
    }
}

fn share(of: usize, all: usize) -> f64 {
    of as f64 / all as f64
}

#[tokio::test(start_paused = true)]
async fn a_key_is_hit_while_a_thousand_other_tags_a_second_are_invalidated() {
    let store = Counting::new();
    let (here, there) = (store.cache(), store.cache());
    let late = here.adapter().with_late_tags(true);
    let _invalidating = Invalidating::other_tags(&there, 1_000);
    let (mut hits, tags) = (0, ["article:1".to_owned(), "author:2".to_owned()]);
    for _ in 0..400 {
        hits += usize::from(look_up(&late, "key", &tags, 50 * MS).await);
        tokio::time::sleep(9 * MS).await;
    }
    let ratio = share(hits, 400);
    assert!(ratio >= 0.95, "{ratio}");
}

/// Each load is of another key with a tag of its own, of which the store knows nothing yet.
#[tokio::test(start_paused = true)]
async fn nearly_all_values_are_stored_at_once() {
    let store = Counting::new();
    let (here, there) = (store.cache(), store.cache());
    let late = here.adapter().with_late_tags(true);
    let _invalidating = Invalidating::other_tags(&there, 1_000);
    let mut stored = 0;
    for n in 0..100 {
        let (key, tags) = (n.to_string(), [format!("article:{n}")]);
        assert!(!look_up(&late, &key, &tags, 50 * MS).await);
        stored += usize::from(late.get::<u32>(key).await.unwrap().is_some());
    }
    let ratio = share(stored, 100);
    assert!(ratio >= 0.95, "{ratio}");
}

/// What the shared record of all tags made of it: the same, if all tags were one.
#[tokio::test(start_paused = true)]
async fn invalidations_of_the_same_tag_do_keep_it_from_being_stored() {
    let store = Counting::new();
    let (here, there) = (store.cache(), store.cache());
    let late = here.adapter().with_late_tags(true);
    let invalidating = tokio::spawn(async move {
        loop {
            tokio::time::sleep(20 * MS).await;
            there.invalidate_tag("tag").await.unwrap();
        }
    });
    for _ in 0..50 {
        assert!(!look_up(&late, "key", &["tag".to_owned()], 50 * MS).await);
    }
    invalidating.abort();
    // And no longer than that.
    assert!(!look_up(&late, "key", &["tag".to_owned()], 50 * MS).await);
    assert!(look_up(&late, "key", &["tag".to_owned()], 50 * MS).await);
}

#[tokio::test(start_paused = true)]
async fn writes_are_spread_over_the_keyspace() {
    for loads in [false, true] {
        let store = Counting::new();
        let (here, there) = (store.cache(), store.cache());
        let late = here.adapter().with_late_tags(true);
        look_up(&late, "the sequence begins", &["tag".to_owned()], MS).await;
        store.take_writes();
        let invalidating = Invalidating::other_tags(&there, 1_000);
        for n in 0..50 {
            if loads {
                look_up(&late, &n.to_string(), &["tag".to_owned()], 50 * MS).await;
            } else {
                tokio::time::sleep(50 * MS).await;
            }
        }
        drop(invalidating);
        let writes = store.take_writes();
        let all: usize = writes.values().sum();
        let (key, most) = writes.iter().max_by_key(|(_, count)| **count).unwrap();
        assert!(all >= 2_500, "{all}");
        assert!(share(*most, all) < 0.05, "{most} of {all} to {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_reads_few_records_however_many_invalidations_there_are() {
    let store = Counting::new();
    let (here, there) = (store.cache(), store.cache());
    let late = here.adapter().with_late_tags(true);
    let tags = ["article:1".to_owned(), "author:2".to_owned(), "site".to_owned()];
    look_up(&late, "the sequence begins", &tags, MS).await;
    for n in 0..2_000 {
        there.invalidate_tag(format!("other:{n}")).await.unwrap();
    }
    store.take_batches();
    look_up(&late, "key", &tags, MS).await;
    assert_eq!(
        store.take_batches(),
        [1, 3, 4],
        "when it begins; the tags; when it began and a page for each tag"
    );
    let many: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    look_up(&late, "another", &many, MS).await;
    assert_eq!(store.take_batches(), [1, 1_000, 65], "there are no more pages");
}
