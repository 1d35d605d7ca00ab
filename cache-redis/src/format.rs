//! The format of a record: a Redis string of a magic number, the version, the deadline and the value.

use bytes::{BufMut, Bytes, BytesMut};
use cache_core::{Timestamp, Version};
use sha1::{Digest, Sha1};

/// The magic number, which distinguishes records of this crate from foreign strings.
///
/// No text begins with it, since UTF-8 never contains the byte 0xC1. That matters for another reason too: fred takes a
/// value that reads `MOVED 1 host:port` for a redirection of the Cluster, and follows it.
pub(crate) const MARK: [u8; 2] = [0xC1, b'r'];

const VERSION_LEN: usize = size_of::<u128>();

const DEADLINE_LEN: usize = size_of::<u64>();

/// The length of everything before the value.
pub(crate) const HEADER_LEN: usize = MARK.len() + VERSION_LEN + DEADLINE_LEN;

/// A decoded record of this crate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) version: Version,
    /// By the clock of the writer; `None` if the record does not expire. The server measures the lifetime itself and
    /// decides whether the record is still there.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) value: Bytes,
}

/// Returns the string to store.
pub(crate) fn encode(version: Version, deadline: Option<Timestamp>, value: &[u8]) -> Bytes {
    let mut stored = BytesMut::with_capacity(HEADER_LEN + value.len());
    stored.put_slice(&MARK);
    stored.put_u128(version.as_u128());
    // Zero stands for no deadline, so a deadline of zero becomes one millisecond.
    stored.put_u64(deadline.map_or(0, |deadline| deadline.as_millis().max(1)));
    stored.put_slice(value);
    stored.freeze()
}

/// Decodes a string. Returns `None` for a foreign one.
pub(crate) fn decode(stored: &Bytes) -> Option<Stored> {
    let (version, rest) = stored.strip_prefix(&MARK)?.split_first_chunk::<VERSION_LEN>()?;
    let deadline = u64::from_be_bytes(*rest.first_chunk::<DEADLINE_LEN>()?);
    Some(Stored {
        version: Version::from_u128(u128::from_be_bytes(*version)),
        deadline: (deadline != 0).then(|| Timestamp::from_millis(deadline)),
        value: stored.slice(HEADER_LEN..),
    })
}

/// Returns the version of a foreign string: the first 16 bytes of its SHA-1, as the scripts compute it.
pub(crate) fn foreign_version(stored: &[u8]) -> Version {
    let digest: [u8; 20] = Sha1::digest(stored).into();
    let (version, _) = digest
        .split_first_chunk::<VERSION_LEN>()
        .unwrap_or((&[0; VERSION_LEN], &[]));
    Version::from_u128(u128::from_be_bytes(*version))
}

/// Returns a version as the scripts take it: the bytes in the header.
pub(crate) fn version_argument(version: Version) -> Bytes {
    Bytes::copy_from_slice(&version.as_u128().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(version: u128, deadline in proptest::option::of(1..=u64::MAX), value: Vec<u8>) {
            let stored = Stored {
                version: Version::from_u128(version),
                deadline: deadline.map(Timestamp::from_millis),
                value: Bytes::from(value),
            };
            prop_assert_eq!(decode(&encode(stored.version, stored.deadline, &stored.value)), Some(stored));
        }

        #[test]
        fn any_bytes_can_be_read(string: Vec<u8>) {
            let marked = [&MARK[..], &string].concat();
            prop_assert_eq!(decode(&Bytes::from(marked)).is_some(), string.len() >= VERSION_LEN + DEADLINE_LEN);
        }

        #[test]
        fn no_text_is_taken_for_a_record(text: String) {
            prop_assert_eq!(decode(&Bytes::from(text)), None);
        }
    }

    #[test]
    fn the_format_is_pinned() {
        let version = Version::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let deadline = Timestamp::from_millis(0x1112_1314_1516_1718);
        assert_eq!(
            &encode(version, Some(deadline), b"value")[..],
            b"\xc1r\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\
              \x11\x12\x13\x14\x15\x16\x17\x18value"
        );
        assert_eq!(
            &encode(version, None, b"")[MARK.len() + VERSION_LEN..],
            [0; DEADLINE_LEN],
            "no end"
        );
    }

    #[test]
    fn a_deadline_is_never_taken_for_none() {
        let stored = encode(Version::from_u128(1), Some(Timestamp::from_millis(0)), b"");
        assert_eq!(
            decode(&stored).and_then(|stored| stored.deadline),
            Some(Timestamp::from_millis(1))
        );
    }
}
