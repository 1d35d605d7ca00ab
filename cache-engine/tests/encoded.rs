//! Encoded values in a store: one that cannot be used is a miss, and the next load replaces it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cache_core::{Coder, EntryKind, Envelope, Error, ErrorKind, Json, Key, KeyName, Raw, SetOptions};
use cache_engine::{Cache, Event};
use serde::{Deserialize, Serialize};
use support::{Count, Log, Remote, SEC, over};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    tags: Vec<String>,
    score: Option<f64>,
}

fn ada() -> User {
    User {
        name: "Ada \u{1f9ee}\0\n".to_owned(),
        tags: vec![String::new(), "x".repeat(100_000)],
        score: Some(-0.5),
    }
}

#[tokio::test(start_paused = true)]
async fn values_come_back_as_they_were() {
    let remote = Remote::new();
    let [here, there] = [(); 2].map(|()| over(&remote).build());
    here.get_or_load("key", || async { Ok::<_, Infallible>(ada()) })
        .await
        .unwrap();
    assert_eq!(*there.get::<User>("key").await.unwrap().unwrap(), ada());
    assert_eq!(
        *there.get_many::<User, _>(["none", "key"]).await.unwrap()[1]
            .clone()
            .unwrap(),
        ada()
    );
    let bytes = here.with_coder(Raw);
    for value in [Bytes::new(), Bytes::from_static(b"\0\xff\r\n")] {
        bytes.set("bytes", value.clone()).await.unwrap();
        assert_eq!(*bytes.get::<Bytes>("bytes").await.unwrap().unwrap(), value);
    }
    let kept = remote.peek(&here.key("key")).await.unwrap();
    assert_eq!((kept.kind, &*kept.coder), (EntryKind::Value, "json"));
}

/// The bytes that a healthy entry has.
async fn healthy(cache: &Cache, remote: &Remote, key: &Key) -> Bytes {
    cache.set(key, 7_u32).await.unwrap();
    let envelope = remote.peek(key).await.unwrap();
    envelope.encode(key).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_does_not_hold_is_a_miss_and_an_event_and_is_replaced() {
    let remote = Remote::new();
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&reasons);
    let cache = over(&remote)
        .observer(move |event: &Event<'_>| {
            if let Event::DecodeFailed { key, error, .. } = event {
                assert_eq!((key.name(), error.kind()), ("key", ErrorKind::Codec));
                noted.lock().unwrap().push(error.to_string());
            }
        })
        .build();
    let key = cache.key("key");
    let good = healthy(&cache, &remote, &key).await;
    let of_another_key = healthy(&cache, &remote, &cache.key("other")).await;
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        Bytes::from(bytes)
    };
    let coded = |coder: &'static str, payload: &'static [u8]| {
        let envelope = Envelope::decode(&good, &key).unwrap();
        envelope
            .with_payload(coder, Bytes::from_static(payload))
            .encode(&key)
            .unwrap()
    };
    let bad: Vec<(&str, Bytes)> = vec![
        ("nothing", Bytes::new()),
        ("foreign bytes", Bytes::from_static(b"{\"name\":\"Ada\"}")),
        ("a bit turned", with(&|bytes| *bytes.last_mut().unwrap() ^= 1)),
        ("cut short", with(&|bytes| bytes.truncate(bytes.len() - 1))),
        ("cut to the header", with(&|bytes| bytes.truncate(40))),
        ("longer", with(&|bytes| bytes.push(0))),
        ("a newer version", with(&|bytes| bytes[4] = 2)),
        ("of another key", of_another_key),
        ("of another coder", coded("cbor", b"\x07")),
        ("not what the coder takes", coded("json", b"seven")),
        ("of another type", coded("json", b"\"seven\"")),
        ("of no type", coded("json", b"")),
        (
            "a tag's",
            Envelope::new(
                EntryKind::Tag,
                cache.adapter().now(),
                cache_core::FreshnessWindows::FOREVER,
            )
            .encode(&key)
            .unwrap(),
        ),
    ];
    for (what, bytes) in bad {
        remote.plant(&key, bytes.clone(), SetOptions::new(SEC)).await;
        assert!(cache.get::<u32>(&key).await.unwrap().is_none(), "{what}");
        assert_eq!(cache.get_many::<u32, _>([&key]).await.unwrap(), [None], "{what}");
        assert!(reasons.lock().unwrap().len() >= 2, "{what}: {reasons:?}");
        assert_eq!(
            *cache.get_or_load(&key, Count::new().loading(8_u32)).await.unwrap(),
            8,
            "{what}"
        );
        reasons.lock().unwrap().clear();
        assert_eq!(*cache.get::<u32>(&key).await.unwrap().unwrap(), 8, "{what}: replaced");
        assert!(reasons.lock().unwrap().is_empty());
        assert_eq!(remote.leases().await, Vec::<String>::new());
    }
}

/// Two names that a key builder has shortened to the same text.
#[tokio::test(start_paused = true)]
async fn keys_that_collide_are_told_apart() {
    let remote = Remote::new();
    let log = Log::new();
    let encoded = over(&remote).observer(log.clone()).build();
    let local = Cache::builder(cache_memory::MemoryBackend::default())
        .observer(log.clone())
        .build();
    for cache in [encoded, local] {
        let one = || KeyName::with_identity("5f3c", *b"f(1)");
        let two = || KeyName::with_identity("5f3c", *b"f(2)");
        let loads = Count::new();
        assert_eq!(*cache.get_or_load(one(), loads.loading(1)).await.unwrap(), 1);
        assert_eq!(*cache.get_or_load(one(), loads.loading(0)).await.unwrap(), 1);
        assert!(cache.get::<i32>(two()).await.unwrap().is_none());
        assert_eq!(*cache.get_or_load(two(), loads.loading(2)).await.unwrap(), 2);
        assert_eq!(*cache.get_or_load(two(), loads.loading(0)).await.unwrap(), 2);
        assert!(cache.get::<i32>(one()).await.unwrap().is_none());
        assert!(log.take().contains(&"decode_failed"));
        assert_eq!(loads.get(), 2);
    }
}

/// As above, at the same time: who waits must not be given the other one's value.
#[tokio::test(start_paused = true)]
async fn even_while_they_are_loaded() {
    for cache in [
        over(&Remote::new()).build(),
        Cache::builder(cache_memory::MemoryBackend::default()).build(),
    ] {
        let gate = support::Gate::closed();
        let call = |identity: &'static [u8], value: i32| {
            let (cache, gate) = (cache.clone(), gate.clone());
            tokio::spawn(async move {
                let load = move || async move {
                    gate.pass().await;
                    Ok::<_, Infallible>(value)
                };
                *cache
                    .get_or_load(KeyName::with_identity("5f3c", identity), load)
                    .await
                    .unwrap()
            })
        };
        let (one, two) = (call(b"f(1)", 1), call(b"f(2)", 2));
        gate.reached().await;
        support::idle().await;
        gate.open();
        assert_eq!((one.await.unwrap(), two.await.unwrap()), (1, 2));
    }
}

/// Cannot encode odd numbers.
#[derive(Debug)]
struct Even;

impl Coder<u32> for Even {
    fn name(&self) -> &'static str {
        "even"
    }

    fn encode(&self, value: &u32) -> Result<Bytes, Error> {
        if value.is_multiple_of(2) {
            Json.encode(value)
        } else {
            Err(Error::new(ErrorKind::Codec, "odd"))
        }
    }

    fn decode(&self, bytes: &Bytes) -> Result<u32, Error> {
        Json.decode(bytes)
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_without_an_encoding_is_answered_and_not_stored() {
    let remote = Remote::new();
    let log = Log::new();
    let cache = over(&remote).coder(Even).observer(log.clone()).build();
    for number in 0..2 {
        let callers = [(); 3].map(|()| cache.get_or_load("key", || async { Ok::<_, Infallible>(3) }));
        for caller in callers {
            assert_eq!(*caller.await.unwrap(), 3);
        }
        assert_eq!(
            log.take().iter().filter(|name| **name == "encode_failed").count(),
            3,
            "{number}"
        );
    }
    assert_eq!(cache.set("key", 3).await.unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(remote.leases().await, Vec::<String>::new());
    assert_eq!(
        *cache
            .get_or_load("key", || async { Ok::<_, Infallible>(4) })
            .await
            .unwrap(),
        4
    );
    assert_eq!(*cache.get::<u32>("key").await.unwrap().unwrap(), 4);
}
