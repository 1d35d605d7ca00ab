//! The format of a record: an item of the table.
//!
//! `key`, `value` and `ttl` are the attributes of fastapi-cache. An item without others is a foreign one, which counts
//! as a record too.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use cache_core::{Key, Record, Timestamp, Value, Version};
use sha2::{Digest, Sha256};

use crate::key;

/// The partition key (S).
pub(crate) const KEY: &str = "key";
/// The value (B).
pub(crate) const VALUE: &str = "value";
/// When DynamoDB may remove the item (N): seconds since the Unix epoch, rounded up.
pub(crate) const TTL: &str = "ttl";
/// The version of the last write (B, 16 bytes).
pub(crate) const VERSION: &str = "version";
/// When the record expires (N): milliseconds since the Unix epoch.
pub(crate) const DEADLINE: &str = "deadline";
/// The whole key (S), where the partition key is shortened.
pub(crate) const FULL_KEY: &str = "full_key";

/// The largest item in bytes: names and values of all attributes.
const MAX_ITEM_BYTES: usize = 400 * 1024;

/// An upper bound for the names of all attributes, the version and the numbers.
const ATTRIBUTES_BYTES: usize = 256;

/// The largest value in bytes. It leaves room for every key that is not shortened.
pub(crate) const MAX_VALUE_BYTES: usize = MAX_ITEM_BYTES - 4 * 1024;

const _: () = assert!(MAX_VALUE_BYTES + key::MAX_KEY_BYTES + ATTRIBUTES_BYTES <= MAX_ITEM_BYTES);

pub(crate) type Item = HashMap<String, AttributeValue>;

/// Returns the largest value that fits under `key`. A shortened key also takes the room of the whole key.
pub(crate) fn max_value_bytes(key: &Key) -> usize {
    let stored = key::stored(key);
    let full = if stored == key.as_str() { 0 } else { key.as_str().len() };
    MAX_ITEM_BYTES
        .saturating_sub(ATTRIBUTES_BYTES + stored.len() + full)
        .min(MAX_VALUE_BYTES)
}

/// Returns the partition key of `key` as an attribute.
pub(crate) fn key_attribute(key: &Key) -> AttributeValue {
    AttributeValue::S(key::stored(key).into_owned())
}

/// Returns a version as an attribute.
pub(crate) fn version_attribute(version: Version) -> AttributeValue {
    AttributeValue::B(Blob::new(version.as_u128().to_be_bytes()))
}

/// Returns a number as an attribute.
pub(crate) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Returns the item of a record.
pub(crate) fn encode(key: &Key, value: Bytes, version: Version, deadline: Option<Timestamp>) -> Item {
    let stored = key::stored(key);
    let mut item = Item::with_capacity(6);
    if stored != key.as_str() {
        item.insert(FULL_KEY.to_owned(), AttributeValue::S(key.as_str().to_owned()));
    }
    item.insert(KEY.to_owned(), AttributeValue::S(stored.into_owned()));
    item.insert(VALUE.to_owned(), AttributeValue::B(Blob::new(Vec::from(value))));
    item.insert(VERSION.to_owned(), version_attribute(version));
    if let Some(deadline) = deadline {
        item.insert(DEADLINE.to_owned(), number(deadline.as_millis()));
        item.insert(TTL.to_owned(), number(deadline.as_secs_rounded_up()));
    }
    item
}

/// Returns the record of `key` in an item, if it has not expired.
pub(crate) fn decode(mut item: Item, key: &Key, now: Timestamp) -> Option<Record> {
    let Lifetime::Left(remaining) = lifetime(&item, now) else {
        return None;
    };
    if !belongs_to(&item, key) {
        return None;
    }
    let version = version(&item);
    let value = match item.remove(VALUE) {
        Some(AttributeValue::B(blob)) => Bytes::from(blob.into_inner()),
        Some(AttributeValue::S(text)) => Bytes::from(text),
        // A foreign item. It reads as an empty value, so that it can be replaced.
        _ => Bytes::new(),
    };
    Some(Record::new(Value::Bytes(value), version, remaining))
}

/// Compares the whole key with `full_key` if the key is shortened.
fn belongs_to(item: &Item, key: &Key) -> bool {
    match item.get(FULL_KEY) {
        Some(AttributeValue::S(full)) => full == key.as_str(),
        _ => key::stored(key) == key.as_str(),
    }
}

/// The remaining lifetime of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lifetime {
    Ended,
    /// This long; `None` if it does not expire.
    Left(Option<Duration>),
}

/// Returns the remaining lifetime of an item, by the rules of
/// [`Condition::absent`](crate::condition::Condition::absent).
pub(crate) fn lifetime(item: &Item, now: Timestamp) -> Lifetime {
    let millis = now.as_millis();
    let (ended, left) = match (item.get(DEADLINE), item.get(TTL)) {
        (Some(AttributeValue::N(deadline)), _) => match deadline.parse::<u64>() {
            Ok(deadline) => (deadline <= millis, deadline.saturating_sub(millis)),
            // A number that another program wrote: negative, or with a fraction.
            Err(_) => match deadline.parse::<f64>() {
                Ok(deadline) => (deadline <= millis as f64, (deadline - millis as f64) as u64),
                Err(_) => return Lifetime::Left(None),
            },
        },
        // An item of fastapi-cache, which counts seconds.
        (None, Some(AttributeValue::N(ttl))) => match ttl.parse::<f64>() {
            Ok(ttl) => (ttl <= (millis / 1000) as f64, (ttl * 1000.0 - millis as f64) as u64),
            Err(_) => return Lifetime::Left(None),
        },
        _ => return Lifetime::Left(None),
    };
    if ended {
        Lifetime::Ended
    } else {
        Lifetime::Left(Some(Duration::from_millis(left)))
    }
}

/// Returns the version of an item: its attribute, or a hash of its content if it is foreign.
pub(crate) fn version(item: &Item) -> Version {
    own_version(item).unwrap_or_else(|| content_version(item))
}

/// Returns the version that this backend wrote, if there is one.
pub(crate) fn own_version(item: &Item) -> Option<Version> {
    let bytes = item.get(VERSION)?.as_b().ok()?.as_ref();
    Some(Version::from_u128(u128::from_be_bytes(bytes.try_into().ok()?)))
}

fn content_version(item: &Item) -> Version {
    let mut hash = Sha256::new();
    for name in [VALUE, TTL, DEADLINE] {
        let (kind, content): (u8, &[u8]) = match item.get(name) {
            None => (0, &[]),
            Some(AttributeValue::B(blob)) => (1, blob.as_ref()),
            Some(AttributeValue::S(text)) => (2, text.as_bytes()),
            Some(AttributeValue::N(number)) => (3, number.as_bytes()),
            Some(_) => (4, &[]),
        };
        hash.update([kind]);
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    let mut token = [0; 16];
    token.copy_from_slice(&hash.finalize()[..16]);
    Version::from_u128(u128::from_be_bytes(token))
}

#[cfg(test)]
mod tests {
    use cache_core::{Prefix, Ttl};
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Key {
        Prefix::new("p").namespace("n").key(name)
    }

    fn foreign(value: &str, ttl: Option<&str>) -> Item {
        let mut item = Item::from([
            (KEY.to_owned(), AttributeValue::S("p:n:a".to_owned())),
            (VALUE.to_owned(), AttributeValue::B(Blob::new(value))),
        ]);
        if let Some(ttl) = ttl {
            item.insert(TTL.to_owned(), AttributeValue::N(ttl.to_owned()));
        }
        item
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Returns the size of an item as DynamoDB counts it.
    fn size(item: &Item) -> usize {
        let value = |value: &AttributeValue| match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::B(blob) => blob.as_ref().len(),
            AttributeValue::N(number) => number.len() / 2 + 2,
            other => panic!("{other:?}"),
        };
        item.iter().map(|(name, content)| name.len() + value(content)).sum()
    }

    proptest! {
        #[test]
        fn a_record_comes_back(
            name in prop_oneof!["\\PC{0,8}", "[k日]{2000,2100}"],
            value: Vec<u8>,
            token: u128,
            ttl in prop::option::of(1..=Ttl::MAX_MILLIS),
            now in 0..4_000_000_000_000_u64,
        ) {
            let (key, version) = (key(&name), Version::from_u128(token));
            let deadline = ttl.map(|ttl| at(now) + Duration::from_millis(ttl));
            let item = encode(&key, Bytes::from(value.clone()), version, deadline);
            let record = decode(item.clone(), &key, at(now)).expect("it has just begun");
            prop_assert_eq!(record.value.as_bytes().map(|bytes| bytes.to_vec()), Some(value));
            prop_assert_eq!(record.version, version);
            prop_assert_eq!(record.remaining, ttl.map(Duration::from_millis));
            if let Some(ttl) = ttl {
                prop_assert!(decode(item.clone(), &key, at(now + ttl - 1)).is_some());
                prop_assert!(decode(item.clone(), &key, at(now + ttl)).is_none());
                // DynamoDB never removes it early.
                let seconds: u64 = item[TTL].as_n().unwrap().parse().unwrap();
                prop_assert!(seconds * 1000 >= now + ttl && seconds * 1000 < now + ttl + 1000);
            } else {
                prop_assert!(!item.contains_key(TTL) && !item.contains_key(DEADLINE));
            }
        }

        #[test]
        fn the_largest_value_fits(name in prop_oneof!["[k日]{0,20}", "[k日]{680,2050}", "[k]{100000,100001}"]) {
            let key = key(&name);
            let value = Bytes::from(vec![0; max_value_bytes(&key)]);
            let item = encode(&key, value, Version::from_u128(u128::MAX), Some(at(u64::MAX)));
            prop_assert!(size(&item) <= MAX_ITEM_BYTES);
        }

        #[test]
        fn no_item_makes_decoding_panic(deadline in "\\PC{0,6}|-?[0-9]{1,30}(\\.[0-9]{1,3})?", both: bool, now: u64) {
            let mut item = foreign("value", Some(&deadline));
            if both {
                item.insert(DEADLINE.to_owned(), AttributeValue::N(deadline));
            }
            let _ = decode(item, &key("a"), at(now));
        }
    }

    #[test]
    fn keys_that_are_not_shortened_leave_room_for_the_declared_limit() {
        for length in [0, 1000, key::MAX_KEY_BYTES - "p:n:".len()] {
            assert_eq!(max_value_bytes(&key(&"k".repeat(length))), MAX_VALUE_BYTES);
        }
    }

    #[test]
    fn items_of_fastapi_cache_are_records() {
        let record = decode(foreign("{}", Some("1700000000")), &key("a"), at(1_699_999_999_500)).unwrap();
        assert_eq!(&record.value.as_bytes().unwrap()[..], b"{}");
        assert_eq!(record.remaining, Some(Duration::from_millis(500)));
        assert!(decode(foreign("{}", Some("1700000000")), &key("a"), at(1_700_000_000_000)).is_none());
        assert_eq!(decode(foreign("{}", None), &key("a"), at(1)).unwrap().remaining, None);
    }

    #[test]
    fn the_version_of_a_foreign_item_follows_its_content() {
        let a = foreign("a", Some("1700000000"));
        assert_eq!(version(&a), version(&a.clone()));
        assert_ne!(version(&a), version(&foreign("b", Some("1700000000"))));
        assert_ne!(version(&a), version(&foreign("a", Some("1700000001"))));
        assert_ne!(version(&a), version(&foreign("a", None)));
        // A `version` of another type or length is ignored.
        let mut other = a.clone();
        other.insert(VERSION.to_owned(), AttributeValue::N("3".to_owned()));
        assert_eq!(version(&other), version(&a));
    }

    #[test]
    fn an_item_of_another_kind_is_an_empty_value() {
        let mut item = foreign("", None);
        item.insert(VALUE.to_owned(), AttributeValue::Bool(true));
        assert!(
            decode(item, &key("a"), at(1))
                .unwrap()
                .value
                .as_bytes()
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_shortened_key_is_compared_in_full() {
        let (long, other) = (key(&"k".repeat(3000)), key(&"j".repeat(3000)));
        let item = encode(&long, Bytes::new(), Version::from_u128(1), None);
        assert!(decode(item.clone(), &long, at(1)).is_some());
        assert!(decode(item, &other, at(1)).is_none());
    }
}
