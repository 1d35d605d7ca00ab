//! Reading foreign bytes never panics, takes bounded memory, and opens nothing that was not sealed.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use cache_at_rest::{AtRest, KeyRing};
use cache_core::{Backend, Error, Key, Prefix, Record, SetOptions, SetOutcome, Value, Version, async_trait};
use libfuzzer_sys::fuzz_target;

/// The bound on what is decompressed.
const MOST: usize = 1 << 20;

static KEY: LazyLock<Key> = LazyLock::new(|| Prefix::new("p").namespace("n").key("k"));
static KEYS: LazyLock<KeyRing> = LazyLock::new(|| KeyRing::new([("1", [1; 32])]).expect("it is a ring"));

/// A store that holds one record.
#[derive(Debug, Clone)]
struct Holds(Bytes);

#[async_trait]
impl Backend for Holds {
    async fn get(&self, _: &Key) -> Result<Option<Record>, Error> {
        Ok(None)
    }

    fn get_now(&self, _: &Key) -> Option<Result<Option<Record>, Error>> {
        Some(Ok(Some(Record::new(self.0.clone().into(), Version::from_u128(1), None))))
    }

    async fn set(&self, _: &Key, _: Value, _: SetOptions) -> Result<SetOutcome, Error> {
        Ok(SetOutcome::Refused)
    }

    async fn delete(&self, _: &Key) -> Result<bool, Error> {
        Ok(false)
    }
}

fn read(store: &AtRest<Holds>) -> Option<Bytes> {
    let record = store.get_now(&KEY)?.expect("the store answers")?;
    let value = record.value.as_bytes().cloned();
    assert_eq!(value.is_none(), record.value.unreadable_reason().is_some());
    value
}

fuzz_target!(|input: &[u8]| {
    let plain = AtRest::new(Holds(Bytes::copy_from_slice(input))).with_max_decompressed(MOST);
    if let Some(value) = read(&plain) {
        assert!(value.len() <= MOST.max(input.len()));
    }
    assert_eq!(read(&plain.with_encryption(KEYS.clone())), None, "nobody has sealed it");
});
