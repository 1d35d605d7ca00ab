#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value
)]

use bytes::Bytes;
use cache_core::{Backend, Key, Prefix, SetOptions, SetOutcome, Ttl, Value, Version};
use cache_memory::MemoryBackend;

pub fn key(name: impl ToString) -> Key {
    Prefix::new("app").namespace("things").key(name.to_string())
}

pub fn bytes(text: impl ToString) -> Value {
    Value::Bytes(Bytes::from(text.to_string()))
}

pub fn sized(len: usize) -> Value {
    Value::Bytes(Bytes::from(vec![7; len]))
}

pub fn forever() -> SetOptions {
    SetOptions::new(Ttl::FOREVER)
}

/// Sets `key`, and expects that the value is stored.
pub async fn stored(backend: &MemoryBackend, key: &Key, value: Value, options: SetOptions) -> Version {
    match backend.set(key, value, options).await.unwrap() {
        SetOutcome::Stored(version) => version,
        SetOutcome::Refused => panic!("{key} was refused"),
    }
}

pub async fn read(backend: &MemoryBackend, key: &Key) -> Option<Bytes> {
    let record = backend.get(key).await.unwrap()?;
    Some(record.value.as_bytes().expect("bytes were set").clone())
}

pub async fn has(backend: &MemoryBackend, key: &Key) -> bool {
    backend.get(key).await.unwrap().is_some()
}
