//! What the tests share.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use bytes::Bytes;
use cache_at_rest::{AtRest, KeyRing};
use cache_core::{Backend, Key, Prefix, Record, SetOptions};
use cache_memory::MemoryBackend;

pub const HOUR: Duration = Duration::from_secs(3600);

pub fn key(name: &str) -> Key {
    Prefix::new("shop").namespace("users").key(name)
}

/// A ring with one key, all of whose bytes are `byte`.
pub fn ring(id: &str, byte: u8) -> KeyRing {
    KeyRing::new([(id, [byte; 32])]).unwrap()
}

pub fn sealed(memory: &MemoryBackend, keys: KeyRing) -> AtRest<MemoryBackend> {
    AtRest::new(memory.clone()).with_encryption(keys)
}

pub async fn put(store: &impl Backend, key: &Key, value: impl Into<Bytes>) {
    let value = value.into().into();
    let outcome = store.set(key, value, SetOptions::new(HOUR)).await.unwrap();
    assert!(outcome.version().is_some());
}

pub async fn record(store: &impl Backend, key: &Key) -> Record {
    store.get(key).await.unwrap().expect("there is a record")
}

/// The value as it is in the store: for `MemoryBackend`, what lies there.
pub async fn bytes(store: &impl Backend, key: &Key) -> Bytes {
    let record = record(store, key).await;
    let bytes = record.value.as_bytes().cloned();
    bytes.unwrap_or_else(|| panic!("{:?} is no value", record.value))
}

/// Why the value of a record cannot be read.
pub async fn reason(store: &impl Backend, key: &Key) -> String {
    let record = record(store, key).await;
    let reason = record.value.unreadable_reason().map(|error| error.message().to_owned());
    reason.unwrap_or_else(|| panic!("{:?} can be read", record.value))
}

/// Text that compresses well.
pub fn text(len: usize) -> Bytes {
    b"{\"name\":\"Ada\",\"born\":1815},"
        .iter()
        .copied()
        .cycle()
        .take(len)
        .collect()
}

/// Bytes that do not compress.
pub fn noise(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}
