//! A cache on a store whose records are encrypted and compressed: what cannot be read is a miss, and is replaced.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cache_at_rest::{AtRest, Compression, KeyRing};
use cache_core::testing::FaultyBackend;
use cache_core::{Backend, Key, Prefix, SetOptions};
use cache_engine::{Cache, CacheBuilder, Event};
use cache_memory::MemoryBackend;
use support::{HOUR, bytes, put, ring};

/// The reasons for which records were not read.
type Reasons = Arc<Mutex<Vec<String>>>;

fn cache(store: impl Backend) -> (CacheBuilder, Reasons) {
    let reasons = Reasons::default();
    let noted = Arc::clone(&reasons);
    let builder = Cache::builder(store)
        .prefix("shop")
        .foreground(true)
        .observer(move |event: &Event<'_>| {
            if let Event::DecodeFailed { error, .. } = event {
                noted.lock().unwrap().push(error.to_string());
            }
        });
    (builder, reasons)
}

fn at_rest(memory: &MemoryBackend, keys: KeyRing) -> AtRest<MemoryBackend> {
    AtRest::new(memory.clone())
        .with_encryption(keys)
        .with_compression(Compression::zstd())
}

/// The store without the objects that a store in this process keeps: every value is bytes, as over a network.
fn plain(memory: &MemoryBackend) -> AtRest<MemoryBackend> {
    AtRest::new(memory.clone())
}

async fn load(cache: &Cache, key: &str, value: &str) -> String {
    let value = value.to_owned();
    let loaded = cache
        .get_or_load(key, || async move { Ok::<_, Infallible>(value) })
        .await;
    loaded.unwrap().as_str().to_owned()
}

/// Changes a record.
type Change = fn(&mut Vec<u8>);

/// Changes the record of `key` in the store.
async fn change(memory: &MemoryBackend, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
    let mut record = bytes(memory, key).await.to_vec();
    change(&mut record);
    put(memory, key, record).await;
}

#[tokio::test]
async fn values_tags_and_leases_work_and_are_sealed() {
    let memory = MemoryBackend::default();
    let (builder, reasons) = cache(at_rest(&memory, ring("1", 1)));
    let cache = builder.build();
    let tagged = cache.with_tags(["people"]);
    assert_eq!(load(&tagged, "42", &"Ada ".repeat(1000)).await, "Ada ".repeat(1000));
    assert_eq!(load(&tagged, "42", "another").await, "Ada ".repeat(1000));
    let stored = bytes(&memory, &cache.key("42")).await;
    assert!(stored.len() < 500 && !stored.windows(3).any(|part| part == b"Ada"));
    assert!(
        !stored.windows(6).any(|part| part == b"people"),
        "the tags of an entry are sealed"
    );
    cache.invalidate_tag("people").await.unwrap();
    assert_eq!(load(&tagged, "42", "Bob").await, "Bob");
    cache.soft().invalidate("42").await.unwrap();
    cache.invalidate("42").await.unwrap();
    assert!(cache.get::<String>("42").await.unwrap().is_none());
    load(&tagged, "42", "Cem").await;
    cache.clear("").await.unwrap();
    assert!(cache.get::<String>("42").await.unwrap().is_none());
    assert!(reasons.lock().unwrap().is_empty(), "{reasons:?}");
}

#[tokio::test]
async fn records_from_before_encryption_are_loaded_anew() {
    let memory = MemoryBackend::default();
    let before = cache(plain(&memory)).0.build().with_tags(["people"]);
    for key in ["1", "2", "3", "4"] {
        assert_eq!(load(&before, key, "old").await, "old");
    }
    let (builder, reasons) = cache(at_rest(&memory, ring("1", 1)));
    let after = builder.build();
    let tagged = after.with_tags(["people"]);
    assert!(tagged.get::<String>("1").await.unwrap().is_none());
    assert_eq!(tagged.get_many::<String, _>(["1", "2"]).await.unwrap(), [None, None]);
    assert_eq!(load(&tagged, "1", "new").await, "new");
    assert_eq!(load(&tagged, "1", "newer").await, "new", "it has been replaced");
    let seen = std::mem::take(&mut *reasons.lock().unwrap());
    assert!(
        seen.len() >= 4 && seen.iter().all(|reason| reason.contains("the record is not sealed")),
        "{seen:?}"
    );

    // What concerns old records is carried out all the same.
    assert!(after.delete("2").await.unwrap());
    after.invalidate("3").await.unwrap();
    after.soft().invalidate("4").await.unwrap();
    for key in ["2", "3", "4"] {
        assert!(before.get::<String>(key).await.unwrap().is_none(), "{key}");
    }
    after.invalidate_tag("people").await.unwrap();
    assert_eq!(load(&tagged, "1", "newest").await, "newest");
}

#[tokio::test]
async fn what_was_changed_in_the_store_is_loaded_anew() {
    let memory = MemoryBackend::default();
    let (builder, reasons) = cache(at_rest(&memory, ring("1", 1)));
    let cache = builder.stale_if_error(HOUR).build();
    load(&cache, "other", "another value").await;
    let changes: [(&str, Change); 5] = [
        ("cut", |record| record.truncate(record.len() / 2)),
        ("emptied", Vec::clear),
        ("a bit", |record| *record.last_mut().unwrap() ^= 1),
        ("the id", |record| record[7] = b'x'),
        ("replaced", |record| *record = b"\xCArst\x01\x00\x00{}".to_vec()),
    ];
    for (what, make) in changes {
        load(&cache, "42", "old").await;
        change(&memory, &cache.key("42"), make).await;
        assert_eq!(load(&cache, "42", "new").await, "new", "{what}");
        assert_eq!(load(&cache, "42", "newer").await, "new", "{what}");
        cache.invalidate("42").await.unwrap();
    }
    // A load that fails has no old value to fall back to: an error, as without a cache, and not a wrong value.
    load(&cache, "42", "old").await;
    let other = bytes(&memory, &cache.key("other")).await;
    change(&memory, &cache.key("42"), |record| *record = other.to_vec()).await;
    let failed = cache.get_or_load("42", || async { Err::<String, _>("down") }).await;
    assert!(failed.is_err());
    assert!(reasons.lock().unwrap().len() >= 6, "{reasons:?}");
}

#[tokio::test]
async fn a_tag_whose_record_cannot_be_read_counts_as_changed() {
    let memory = MemoryBackend::default();
    let (builder, _) = cache(at_rest(&memory, ring("1", 1)));
    let cache = builder.build().with_tags(["people"]);
    assert_eq!(load(&cache, "42", "old").await, "old");
    let tag = Prefix::new("shop").namespace("").reserved("tag").key("people");
    change(&memory, &tag, |record| *record.last_mut().unwrap() ^= 1).await;
    assert_eq!(load(&cache, "42", "new").await, "new");
    assert_eq!(load(&cache, "42", "newer").await, "new");
    cache.invalidate_tag("people").await.unwrap();
    assert_eq!(load(&cache, "42", "newest").await, "newest");
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_holds_up_nobody() {
    let memory = MemoryBackend::default();
    let (builder, _) = cache(at_rest(&memory, ring("1", 1)));
    let cache = builder.build();
    let lease = cache.key("42").reserved("lease");
    for place in [cache.key("42"), lease] {
        let value = Bytes::from_static(b"no lease of ours").into();
        let _ = memory.set(&place, value, SetOptions::new(HOUR).lease()).await.unwrap();
        let loaded = tokio::time::timeout(Duration::from_secs(60), load(&cache, "42", "new")).await;
        assert_eq!(loaded.expect("it waits for a lease that nobody holds"), "new");
        cache.invalidate("42").await.unwrap();
        let unreadable = Bytes::from_static(b"a value of before").into();
        let _ = memory
            .set(&cache.key("42"), unreadable, SetOptions::new(HOUR))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_removed_key_makes_its_records_misses() {
    let memory = MemoryBackend::default();
    let old = cache(at_rest(&memory, ring("old", 1))).0.build();
    load(&old, "42", "old").await;
    let (builder, reasons) = cache(at_rest(&memory, ring("new", 2)));
    let new = builder.build();
    assert_eq!(load(&new, "42", "new").await, "new");
    let reasons = reasons.lock().unwrap();
    let expected = "the record is sealed with the key \"old\", which is not in the key ring";
    assert!(
        !reasons.is_empty() && reasons.iter().all(|reason| reason.ends_with(expected)),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn a_near_hit_opens_nothing() {
    let memory = FaultyBackend::new(MemoryBackend::default());
    let store = AtRest::new(memory.clone()).with_encryption(ring("1", 1));
    let (builder, _) = cache(store);
    let cache = builder.near(MemoryBackend::default()).near_max_age(HOUR).build();
    let loads = Arc::new(AtomicUsize::new(0));
    let get = || {
        let loads = Arc::clone(&loads);
        cache.get_or_load("42", move || async move {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>("Ada".to_owned())
        })
    };
    let first = get().await.unwrap();
    let calls = memory.calls();
    assert!(calls > 0);
    for _ in 0..3 {
        assert!(Arc::ptr_eq(&first, &get().await.unwrap()), "the object itself");
    }
    assert_eq!((memory.calls(), loads.load(Ordering::Relaxed)), (calls, 1));
}
