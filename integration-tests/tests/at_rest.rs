//! Compression and encryption on real stores: the conformance kit, what lies in the store, and what becomes of records
//! that were changed there. The application of `app/` runs on an encrypted Redis, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dynamodb_support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cache_at_rest::{AtRest, Compression, KeyRing};
use cache_core::conformance::Subject;
use cache_core::{Backend, ErrorKind};
use cache_engine::Cache;
use cache_memcached::MemcachedBackend;
use cache_redis::RedisBackend;
use integration_tests::{DynamoDb, Memcached, Redis, wire};
use tokio::sync::OnceCell;

use crate::dynamodb_support::{fresh_name, make_table, patient};

/// A busy machine is no reason to fail.
const PATIENCE: Duration = Duration::from_secs(20);

/// Below the limits of all stores here, so that whatever the declared limit allows also fits.
const MAX_DECOMPRESSED: usize = 256 << 10;

async fn redis() -> RedisBackend {
    let builder = RedisBackend::builder()
        .url(Redis::shared().await.url())
        .connect_timeout(PATIENCE)
        .operation_timeout(PATIENCE)
        .unresponsive_timeout(PATIENCE)
        // Half a gigabyte, the default, takes long to encrypt in a test.
        .max_value_bytes(2 << 20);
    builder.connect().await.unwrap()
}

async fn memcached() -> MemcachedBackend {
    let builder = MemcachedBackend::builder()
        .url(&Memcached::shared().await.url())
        .connect_timeout(PATIENCE)
        .operation_timeout(PATIENCE);
    builder.connect().await.unwrap()
}

fn keys() -> KeyRing {
    KeyRing::new([("2026-11", [1; 32]), ("2026-08", [2; 32])]).unwrap()
}

fn at_rest<B: Backend>(store: B) -> AtRest<B> {
    AtRest::new(store)
        .with_encryption(keys())
        .with_compression(Compression::zstd())
}

fn under_test<B: Backend>(store: B) -> AtRest<B> {
    at_rest(store)
        .with_compression(Compression::lz4().with_threshold(16))
        .with_max_decompressed(MAX_DECOMPRESSED)
}

mod on_redis {
    use super::*;

    cache_core::conformance!(
        Subject::new(under_test(redis().await)).with_other_handle(under_test(redis().await)),
        declares: [clear, subscribe, value_bytes]
    );
}

mod on_memcached {
    use super::*;

    cache_core::conformance!(under_test(memcached().await), declares: [value_bytes]);
}

mod on_dynamodb {
    use super::*;

    async fn subject() -> Subject {
        static TABLE: OnceCell<String> = OnceCell::const_new();
        let server = DynamoDb::shared().await;
        let table = TABLE.get_or_init(|| async {
            let table = fresh_name("at-rest");
            make_table(server, &table, "key").await;
            table
        });
        let backend = patient(server.endpoint(), table.await).connect().await.unwrap();
        // DynamoDB Local carries out one write at a time, and all checks run concurrently.
        Subject::new(under_test(backend))
            .with_timeout(Duration::from_secs(400))
            .with_writers(16)
            .with_steps(300)
    }

    cache_core::conformance!(subject().await, declares: [value_bytes]);
}

fn prefix() -> String {
    format!("at-rest-{:016x}", fastrand::u64(..))
}

fn cache(store: impl Backend, prefix: &str) -> Cache {
    Cache::builder(store).prefix(prefix).backend_timeout(PATIENCE).build()
}

async fn load(cache: &Cache, key: &str, value: &str) -> String {
    let value = value.to_owned();
    let loaded = cache
        .get_or_load(key, || async move { Ok::<_, Infallible>(value) })
        .await;
    loaded.unwrap().as_str().to_owned()
}

/// Everything that Redis holds below `prefix`: the names of the keys and the values.
async fn all_in_redis(prefix: &str) -> (Vec<String>, String) {
    let address = Redis::shared().await.address();
    let names = wire::redis(address, &format!("KEYS {prefix}*")).await.unwrap();
    let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
    let mut values = String::new();
    for name in &names {
        values += &wire::redis(address, &format!("GET {name}")).await.unwrap();
    }
    (names, values)
}

#[tokio::test]
async fn redis_holds_no_plain_text_of_values() {
    for encrypted in [true, false] {
        let prefix = prefix();
        let store = AtRest::new(redis().await).with_encryption(encrypted.then(keys));
        let cache = cache(store, &prefix);
        let tagged = cache.with_tags(["patients"]);
        load(&tagged, "42", "diagnosis: confidential").await;
        tagged.set("43", "diagnosis: none".to_owned()).await.unwrap();
        let remembering = cache.policy_with(|policy| policy.with_error_ttl(PATIENCE));
        let failed = remembering.get_or_load("44", || async { Err::<String, _>("diagnosis: unavailable".to_owned()) });
        assert!(failed.await.is_err());
        cache.settled().await;
        let (names, values) = all_in_redis(&prefix).await;
        // Three entries and the record of the tag, at least.
        assert!(names.len() >= 4, "{names:?}");
        assert_eq!(values.contains("diagnosis"), !encrypted);
        assert_eq!(values.contains("patients"), !encrypted, "the tags of an entry");
        // Keys are not encrypted, and those of tags name them.
        assert!(names.iter().any(|name| name.contains("patients")));
        cache.clear_all().await.unwrap();
    }
}

#[tokio::test]
async fn a_record_that_was_moved_in_redis_answers_nobody() {
    let (address, prefix) = (Redis::shared().await.address(), prefix());
    let cache = cache(at_rest(redis().await), &prefix);
    load(&cache, "public", "for all").await;
    load(&cache, "secret", "for one").await;
    let copy = format!("COPY {} {} REPLACE", cache.key("secret"), cache.key("public"));
    assert_eq!(wire::redis(address, &copy).await.unwrap(), "1");
    assert!(cache.get::<String>("public").await.unwrap().is_none());
    assert_eq!(load(&cache, "public", "for all again").await, "for all again");
    // Cut short, and overwritten by a string of another program.
    let key = cache.key("public");
    for change in [
        format!("SETRANGE {key} 60 xxxxxxxxxxxxxxxx"),
        format!("SET {key} x"),
        format!("APPEND {key} x"),
    ] {
        wire::redis(address, &change).await.unwrap();
        assert_eq!(load(&cache, "public", &change).await, change);
        assert_eq!(load(&cache, "public", "another").await, change, "it has been replaced");
    }
    assert_eq!(load(&cache, "secret", "another").await, "for one");
}

#[tokio::test]
async fn processes_of_two_steps_of_a_rotation_share_entries() {
    let prefix = prefix();
    let (old, new) = (("old", [1; 32]), ("new", [2; 32]));
    let mut processes = Vec::new();
    for ring in [vec![old, new], vec![new, old]] {
        let store = AtRest::new(redis().await).with_encryption(KeyRing::new(ring).unwrap());
        processes.push(cache(store, &prefix).with_tags(["people"]));
    }
    let [one, other] = &processes[..] else { panic!() };
    assert_eq!(load(one, "1", "Ada").await, "Ada");
    assert_eq!(load(other, "1", "Bob").await, "Ada");
    assert_eq!(load(other, "2", "Cem").await, "Cem");
    assert_eq!(load(one, "2", "Dan").await, "Cem");
    // A tag is invalidated for both, whoever does it and whoever has sealed its record.
    one.invalidate_tag("people").await.unwrap();
    assert_eq!(load(other, "1", "Eve").await, "Eve");
    other.invalidate_tag("people").await.unwrap();
    assert_eq!(load(one, "1", "Fay").await, "Fay");
}

#[tokio::test]
async fn compression_makes_room_in_memcached_for_what_is_too_large() {
    let prefix = prefix();
    let large = "A line of a large document.\n".repeat(100_000);
    let plain = cache(memcached().await, &format!("{prefix}-plain"));
    let refused = plain.set("document", large.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge, "{refused}");

    let here = cache(at_rest(memcached().await), &prefix);
    here.set("document", large.clone()).await.unwrap();
    let there = cache(at_rest(memcached().await), &prefix);
    assert!(*there.get::<String>("document").await.unwrap().unwrap() == large);
}

#[tokio::test]
async fn near_copies_are_told_of_changes() {
    let prefix = prefix();
    let near = |store| {
        let near = cache_memory::MemoryBackend::default();
        Cache::builder(store)
            .prefix(&prefix)
            .backend_timeout(PATIENCE)
            .near(near)
            .build()
    };
    let (here, there) = (near(at_rest(redis().await)), near(at_rest(redis().await)));
    load(&here, "42", "old").await;
    let read = async || there.get::<String>("42").await.unwrap();
    // The first read may come before the subscription is active, and makes no copy then.
    let copied = async || Arc::ptr_eq(&read().await.unwrap(), &read().await.unwrap());
    until(copied).await;
    here.set("42", "new".to_owned()).await.unwrap();
    until(async || *read().await.unwrap() == "new").await;
}

/// Waits until `holds`, for half a minute at most.
async fn until(holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("it does not hold in time");
}
