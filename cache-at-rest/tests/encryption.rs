//! What is sealed opens with its key and at its place, and in no other way.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::LazyLock;

use bytes::Bytes;
use cache_at_rest::{AtRest, Compression, KeyRing};
use cache_core::{Backend, ErrorKind, GetOrAdd, Key, Prefix, SetOptions};
use cache_memory::MemoryBackend;
use proptest::prelude::*;
use support::{HOUR, bytes, key, put, reason, record, ring, sealed, text};

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

#[tokio::test]
async fn the_store_holds_nothing_of_the_value() {
    let memory = MemoryBackend::default();
    let (store, key) = (sealed(&memory, ring("1", 1)), key("42"));
    put(&store, &key, "attack at dawn").await;
    let first = bytes(&memory, &key).await;
    assert!(!contains(&first, b"attack") && !contains(&first, b"dawn"));
    assert_eq!(bytes(&store, &key).await, "attack at dawn");
    // The same value is another record each time.
    put(&store, &key, "attack at dawn").await;
    let second = bytes(&memory, &key).await;
    assert_eq!(first.len(), second.len());
    assert_ne!(first[first.len() - 14..], second[first.len() - 14..]);

    // Otherwise, it is there to be read.
    put(&AtRest::new(memory.clone()), &key, "attack at dawn").await;
    assert!(contains(&bytes(&memory, &key).await, b"attack"));
}

#[tokio::test]
async fn a_record_does_not_open_at_another_place() {
    let memory = MemoryBackend::default();
    let store = sealed(&memory, ring("1", 1));
    let mine = key("42");
    put(&store, &mine, "a value").await;
    let stolen = bytes(&memory, &mine).await;
    let shop = Prefix::new("shop");
    for other in [
        shop.namespace("users").key("43"),
        shop.namespace("users").key("42 "),
        shop.namespace("admins").key("42"),
        Prefix::new("bank").namespace("users").key("42"),
        mine.reserved("lease"),
    ] {
        put(&memory, &other, stolen.clone()).await;
        let reason = reason(&store, &other).await;
        assert!(reason.contains("does not open with the key \"1\""), "{other}: {reason}");
    }
    // Where it belongs, it still opens.
    put(&memory, &mine, stolen).await;
    assert_eq!(bytes(&store, &mine).await, "a value");
}

#[tokio::test]
async fn records_that_nobody_sealed_are_not_read() {
    let memory = MemoryBackend::default();
    let (store, key) = (sealed(&memory, ring("1", 1)), key("42"));
    let compressed = AtRest::new(memory.clone()).with_compression(Compression::zstd());
    for value in [Bytes::new(), Bytes::from_static(b"plain"), text(5000)] {
        put(&compressed, &key, value).await;
        assert_eq!(reason(&store, &key).await, "the record is not sealed");
        // It is there, with its version, so it can be replaced and removed.
        let version = record(&store, &key).await.version;
        assert_eq!(store.version(&key).await.unwrap(), Some(version));
        assert!(store.delete_if(&key, version).await.unwrap());
    }
}

#[tokio::test]
async fn each_way_to_read_opens_records() {
    let memory = MemoryBackend::default();
    let store = sealed(&memory, ring("1", 1));
    let (there, forged) = (key("there"), key("forged"));
    put(&store, &there, "a value").await;
    put(&memory, &forged, "forged").await;
    let opened = |record: Option<cache_core::Record>| record.and_then(|record| record.value.as_bytes().cloned());

    assert_eq!(opened(store.get_now(&there).unwrap().unwrap()).unwrap(), "a value");
    assert_eq!(opened(store.get_now(&forged).unwrap().unwrap()), None);
    let many = store
        .get_many(&[forged.clone(), key("none"), there.clone()])
        .await
        .unwrap();
    assert!(many[0].as_ref().unwrap().value.unreadable_reason().is_some() && many[1].is_none());
    assert_eq!(opened(many[2].clone()).unwrap(), "a value");
    for (key, expected) in [(&there, Some("a value")), (&forged, None)] {
        let found = store
            .get_or_add(key, Bytes::from("new").into(), SetOptions::new(HOUR))
            .await;
        let GetOrAdd::Found(record) = found.unwrap() else {
            panic!("{key} is there")
        };
        assert_eq!(
            record.value.as_bytes().map(|bytes| &bytes[..]),
            expected.map(str::as_bytes)
        );
    }
    let entries = vec![(forged.clone(), Bytes::from("written").into(), SetOptions::new(HOUR))];
    let _ = store.set_many(entries).await.unwrap();
    assert_eq!(bytes(&store, &forged).await, "written");
    assert!(!contains(&bytes(&memory, &forged).await, b"written"));
}

#[tokio::test]
async fn keys_are_rotated_without_a_miss() {
    let memory = MemoryBackend::default();
    let (old, new) = (("old", [1; 32]), ("new", [2; 32]));
    let store = |keys: &[(&str, [u8; 32])]| sealed(&memory, KeyRing::new(keys.iter().copied()).unwrap());
    let steps = [store(&[old]), store(&[old, new]), store(&[new, old]), store(&[new])];

    // Two steps in a row are in use at the same time, and each reads what the other writes.
    for (at, pair) in steps[..3].windows(2).enumerate() {
        for (writer, reader) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            put(writer, &key("42"), "a value").await;
            assert_eq!(bytes(reader, &key("42")).await, "a value", "{at}");
        }
    }
    put(&steps[2], &key("new"), "a value").await;
    put(&steps[1], &key("old"), "a value").await;
    assert_eq!(bytes(&steps[3], &key("new")).await, "a value");
    assert_eq!(
        reason(&steps[3], &key("old")).await,
        "the record is sealed with the key \"old\", which is not in the key ring"
    );
}

#[tokio::test]
async fn the_wrong_key_opens_nothing() {
    let memory = MemoryBackend::default();
    let key = key("42");
    put(&sealed(&memory, ring("1", 1)), &key, "a value").await;
    let of_the_same_id = reason(&sealed(&memory, ring("1", 2)), &key).await;
    assert!(of_the_same_id.contains("does not open"), "{of_the_same_id}");
    let of_another_id = reason(&sealed(&memory, ring("2", 1)), &key).await;
    assert!(of_another_id.contains("not in the key ring"), "{of_another_id}");
    let none = reason(&AtRest::new(memory.clone()), &key).await;
    assert_eq!(
        none,
        "the record is sealed with the key \"1\", and this cache has no keys"
    );
    // The id is part of what is sealed: a record cannot be passed to another key that has the same bytes.
    let mut renamed = bytes(&memory, &key).await.to_vec();
    let at = renamed.iter().position(|byte| *byte == b'1').unwrap();
    renamed[at] = b'2';
    put(&memory, &key, renamed).await;
    let renamed = reason(&sealed(&memory, ring("2", 1)), &key).await;
    assert!(renamed.contains("does not open"), "{renamed}");
}

#[tokio::test]
async fn objects_of_this_process_are_refused() {
    let memory = MemoryBackend::default();
    let store = sealed(&memory, ring("1", 1));
    let object = || cache_core::Value::Shared(cache_core::SharedValue::new(std::sync::Arc::new(1), 8));
    let error = store
        .set(&key("42"), object(), SetOptions::new(HOUR))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(!store.capabilities().shared_objects);
    // One that is in the store all the same was not sealed.
    let _ = memory.set(&key("42"), object(), SetOptions::new(HOUR)).await.unwrap();
    assert_eq!(reason(&store, &key("42")).await, "the record is not sealed");
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sealed() {
    let memory = MemoryBackend::builder().max_bytes(1 << 20).shards(1).build();
    let (store, key) = (sealed(&memory, ring("1", 1)), key("42"));
    let limit = store.limits().value_bytes.unwrap();
    assert!(limit < memory.limits().value_bytes.unwrap());
    put(&store, &key, vec![7; limit]).await;
    let too_large = || Bytes::from(vec![7; limit + 1]).into();
    let options = SetOptions::new(HOUR);
    let error = store.set(&key, too_large(), options.if_absent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(bytes(&store, &key).await.len(), limit);
    // The record that it would have replaced is gone.
    let error = store.set(&key, too_large(), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(store.get(&key).await.unwrap().is_none());
}

#[test]
fn a_ring_that_makes_no_sense_is_refused() {
    let none: [(&str, [u8; 32]); 0] = [];
    let long = "x".repeat(65);
    for (ring, expected) in [
        (KeyRing::new(none), "no key"),
        (KeyRing::new([("", [1; 32])]), "id of 0 bytes"),
        (KeyRing::new([(long.as_str(), [1; 32])]), "id of 65 bytes"),
        (
            KeyRing::new([("1", [1; 32]), ("1", [2; 32])]),
            "two keys have the id \"1\"",
        ),
    ] {
        let error = ring.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.message().contains(expected), "{error}");
    }
    let error = KeyRing::new([("1", vec![1; 16])]).unwrap_err();
    assert!(
        error.message().contains("the key \"1\" has 16 bytes: a key has 32"),
        "{error}"
    );
    assert!(KeyRing::new([("x".repeat(64), [1; 32])]).is_ok());
}

#[tokio::test]
async fn a_ring_is_parsed_and_shows_no_key() {
    let hex = "0123456789abcdefABCDEF0123456789".repeat(2);
    let other = "f".repeat(64);
    let ring: KeyRing = format!(" 2026-11:{hex},a:b:{other}\n").parse().unwrap();
    assert_eq!(format!("{ring:?}"), r#"KeyRing { seals: "2026-11", opens: ["a:b"] }"#);
    let store = AtRest::new(MemoryBackend::default()).with_encryption(ring);
    assert!(!format!("{store:?}").contains("0123"));

    // They are the bytes that the digits stand for.
    let memory = MemoryBackend::default();
    put(
        &sealed(&memory, format!("1:{other}").parse().unwrap()),
        &key("42"),
        "a value",
    )
    .await;
    assert_eq!(
        bytes(&sealed(&memory, support::ring("1", 0xff)), &key("42")).await,
        "a value"
    );

    for (text, expected) in [
        (String::new(), "no key"),
        (" , ".to_owned(), "no key"),
        (hex.clone(), "key 1 of the ring"),
        (format!("1:{other},{hex}"), "key 2 of the ring"),
        (format!("1:{}", &hex[1..]), "key 1 of the ring"),
        (format!("1:{hex}0"), "key 1 of the ring"),
        (format!("1:{}g", &hex[1..]), "key 1 of the ring"),
        (format!("1:{}é", &hex[2..]), "key 1 of the ring"),
        (format!("{hex}:1"), "key 1 of the ring"),
        (format!(":{hex}"), "id of 0 bytes"),
    ] {
        let error = text.parse::<KeyRing>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.message().contains(expected), "{text}: {error}");
        assert!(!error.to_string().contains("0123"), "{error}");
    }
}

/// A store that holds one record, whatever the key.
#[derive(Debug, Clone)]
struct Holds(Bytes);

#[cache_core::async_trait]
impl Backend for Holds {
    async fn get(&self, key: &Key) -> Result<Option<cache_core::Record>, cache_core::Error> {
        self.get_now(key).unwrap()
    }

    fn get_now(&self, _: &Key) -> Option<Result<Option<cache_core::Record>, cache_core::Error>> {
        let version = cache_core::Version::from_u128(1);
        Some(Ok(Some(cache_core::Record::new(self.0.clone().into(), version, None))))
    }

    async fn set(
        &self,
        _: &Key,
        _: cache_core::Value,
        _: SetOptions,
    ) -> Result<cache_core::SetOutcome, cache_core::Error> {
        Ok(cache_core::SetOutcome::Refused)
    }

    async fn delete(&self, _: &Key) -> Result<bool, cache_core::Error> {
        Ok(false)
    }
}

/// Reads `bytes` with keys. `None` if they do not open.
fn opened(bytes: impl Into<Bytes>) -> Option<Bytes> {
    static KEYS: LazyLock<KeyRing> = LazyLock::new(|| ring("1", 1));
    let store = AtRest::new(Holds(bytes.into())).with_encryption(KEYS.clone());
    let record = store.get_now(&key("42")).unwrap().unwrap().unwrap();
    assert_eq!(
        record.value.as_bytes().is_none(),
        record.value.unreadable_reason().is_some()
    );
    record.value.as_bytes().cloned()
}

/// Reads `bytes` without keys, with a small bound. `None` if they cannot be read.
fn read_without_keys(bytes: impl Into<Bytes>) -> Option<Bytes> {
    let store = AtRest::new(Holds(bytes.into())).with_max_decompressed(100_000);
    let record = store.get_now(&key("42")).unwrap().unwrap().unwrap();
    record.value.as_bytes().cloned()
}

/// A sealed record of `value`, as it is in the store.
fn seal(value: Bytes) -> Vec<u8> {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());
    RUNTIME.block_on(async {
        let memory = MemoryBackend::builder().background_purge(false).build();
        let store = sealed(&memory, ring("1", 1)).with_compression(Compression::lz4().with_threshold(64));
        put(&store, &key("42"), value).await;
        bytes(&memory, &key("42")).await.to_vec()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_opens_again(value in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let record = seal(value.clone().into());
        prop_assert_eq!(opened(record), Some(Bytes::from(value)));
    }

    #[test]
    fn a_record_that_was_changed_does_not_open(
        value in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let mut record = seal(value.into());
        let at = at.index(record.len());
        record[at] ^= 1_u8 << bit;
        prop_assert_eq!(opened(record), None, "bit {} of byte {}", bit, at);
    }

    #[test]
    fn a_record_that_was_cut_or_extended_does_not_open(
        value in proptest::collection::vec(any::<u8>(), 0..300),
        len in any::<prop::sample::Index>(),
        more in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let record = seal(value.into());
        let len = len.index(record.len());
        prop_assert_eq!(opened(record[..len].to_vec()), None, "cut to {}", len);
        prop_assert_eq!(opened([&record, &more[..]].concat()), None);
        prop_assert_eq!(opened([&more, &record[..]].concat()), None);
    }

    #[test]
    fn hostile_bytes_never_open_and_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 0_u8..4,
        id_len in 0_u8..4,
    ) {
        prop_assert_eq!(opened(bytes.clone()), None);
        read_without_keys(bytes.clone());
        // Behind a valid start, where more of the code is reached.
        let marked = [b"\xCArst\x01", &[kind, id_len][..], b"1", &bytes].concat();
        prop_assert_eq!(opened(marked.clone()), None);
        read_without_keys(marked);
        for algorithm in 0..4 {
            let len = (bytes.len() as u32 * 3).to_be_bytes();
            let framed = [b"\xCArst\x01\x00", &[algorithm][..], &len, &bytes].concat();
            if let Some(value) = read_without_keys(framed.clone()) {
                prop_assert!(value.len() <= framed.len().max(100_000));
            }
        }
    }
}
