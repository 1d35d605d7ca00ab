//! The format of a record: a header of fixed length, then the value.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | magic number: `C1 6D` |
//! | 1 | layout: `01` |
//! | 16 | version |
//! | 8 | deadline in milliseconds since the Unix epoch; all ones for none |
//! | 16 | half of the SHA-256 of the whole key |
//! | rest | value |
//!
//! Numbers are big-endian. Where the list of servers may change, the layout is `02`, and the epoch of the list (8 bytes)
//! stands before the value: see [`membership`](crate::membership).

use bytes::{Buf, BufMut, Bytes};
use cache_core::{Record, Timestamp, Value, Version};

use crate::key::StoreKey;

/// No text begins with this, since UTF-8 never contains the byte 0xC1.
const MARK: [u8; 2] = [0xC1, b'm'];

const PLAIN: u8 = 1;
const WITH_EPOCH: u8 = 2;

const NO_DEADLINE: u64 = u64::MAX;

/// The length of everything before the value.
pub(crate) const HEADER_LEN: usize = MARK.len() + 1 + 16 + 8 + 16;

const EPOCH_LEN: usize = 8;

/// A decoded record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) version: Version,
    pub(crate) deadline: Option<Timestamp>,
    /// The epoch of the list of servers that the writer had.
    pub(crate) epoch: Option<u64>,
    pub(crate) value: Bytes,
}

impl Stored {
    /// Returns whether the deadline is still ahead.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.deadline.is_none_or(|deadline| now < deadline)
    }

    /// Returns the record for a reader, or `None` if its deadline has passed.
    pub(crate) fn into_record(self, now: Timestamp) -> Option<Record> {
        if !self.is_live(now) {
            return None;
        }
        let remaining = self.deadline.map(|deadline| deadline.saturating_since(now));
        Some(Record::new(Value::Bytes(self.value), self.version, remaining))
    }
}

pub(crate) fn encode(
    key: &StoreKey<'_>,
    version: Version,
    deadline: Option<Timestamp>,
    epoch: Option<u64>,
    value: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + EPOCH_LEN + value.len());
    bytes.put_slice(&MARK);
    bytes.put_u8(if epoch.is_some() { WITH_EPOCH } else { PLAIN });
    bytes.put_u128(version.as_u128());
    bytes.put_u64(deadline.map_or(NO_DEADLINE, Timestamp::as_millis));
    bytes.put_slice(&key.check());
    if let Some(epoch) = epoch {
        bytes.put_u64(epoch);
    }
    bytes.put_slice(value);
    bytes
}

/// Decodes a record. Returns `None`, which means absent, for bytes that this crate did not write, of another layout, or
/// for another key.
pub(crate) fn decode(key: &StoreKey<'_>, mut bytes: Bytes) -> Option<Stored> {
    // Read through a slice: a part that is taken out of `Bytes` costs an allocation.
    let mut header = &bytes[..];
    if header.len() < HEADER_LEN || header[..MARK.len()] != MARK {
        return None;
    }
    header.advance(MARK.len());
    let has_epoch = match header.get_u8() {
        PLAIN => false,
        WITH_EPOCH if header.len() >= HEADER_LEN - MARK.len() - 1 + EPOCH_LEN => true,
        _ => return None,
    };
    let version = Version::from_u128(header.get_u128());
    let deadline = Some(header.get_u64())
        .filter(|millis| *millis != NO_DEADLINE)
        .map(Timestamp::from_millis);
    let check = key.check();
    if header[..check.len()] != check {
        return None;
    }
    header.advance(check.len());
    let epoch = has_epoch.then(|| header.get_u64());
    let before_value = bytes.len() - header.len();
    bytes.advance(before_value);
    Some(Stored {
        version,
        deadline,
        epoch,
        value: bytes,
    })
}

#[cfg(test)]
mod tests {
    use cache_core::{Key, Prefix};
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Key {
        Prefix::new("p").namespace("n").key(name)
    }

    proptest! {
        #[test]
        fn comes_back(
            version: u128, deadline in proptest::option::of(0..u64::MAX), epoch: Option<u64>, value: Vec<u8>,
            name in ".{0,10}",
        ) {
            let (version, deadline) = (Version::from_u128(version), deadline.map(Timestamp::from_millis));
            let bytes = encode(&StoreKey::new(&key(&name)), version, deadline, epoch, &value);
            let stored = Stored { version, deadline, epoch, value: value.into() };
            prop_assert_eq!(decode(&StoreKey::new(&key(&name)), bytes.clone().into()), Some(stored));
            prop_assert_eq!(decode(&StoreKey::new(&key(&format!("{name}?"))), bytes.into()), None);
        }

        #[test]
        fn what_others_wrote_is_absent(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&StoreKey::new(&key("a")), bytes.into()), None);
        }

        #[test]
        fn what_is_cut_is_absent(cut in 0..HEADER_LEN) {
            let mut bytes = encode(&StoreKey::new(&key("a")), Version::from_u128(7), None, None, b"value");
            bytes.truncate(cut);
            prop_assert_eq!(decode(&StoreKey::new(&key("a")), bytes.into()), None);
            let mut bytes = encode(&StoreKey::new(&key("a")), Version::from_u128(7), None, Some(1), b"value");
            bytes.truncate(cut + EPOCH_LEN);
            prop_assert_eq!(decode(&StoreKey::new(&key("a")), bytes.into()), None);
        }
    }

    #[test]
    fn the_layout_stays() {
        let bytes = encode(
            &StoreKey::new(&key("a")),
            Version::from_u128(0x0102),
            Some(Timestamp::from_millis(0x0304)),
            None,
            b"value",
        );
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        assert_eq!(
            hex(&bytes),
            "c16d01000000000000000000000000000001020000000000000304fdbc80236d81a8d35ed054231b774f5a76616c7565"
        );
        let bytes = encode(&StoreKey::new(&key("a")), Version::from_u128(1), None, Some(5), b"v");
        assert_eq!(
            hex(&bytes),
            "c16d0200000000000000000000000000000001fffffffffffffffffdbc80236d81a8d35ed054231b774f5a000000000000000576"
        );
    }
}
