//! How a record is kept: a Redis string of a mark, the version and the value.

use bytes::{BufMut, Bytes, BytesMut};
use cache_core::Version;
use sha1::{Digest, Sha1};

/// Tells the records of this crate from what others wrote.
///
/// No text begins with it, since 0xC1 is no byte of UTF-8. This matters beyond telling them apart: fred takes a value
/// that reads `MOVED 1 host:port` for a redirection of the Cluster and follows it.
pub(crate) const MARK: [u8; 2] = [0xC1, b'r'];

const VERSION_LEN: usize = size_of::<u128>();

/// What precedes the value.
pub(crate) const HEADER_LEN: usize = MARK.len() + VERSION_LEN;

/// The string that is stored.
pub(crate) fn encode(version: Version, value: &[u8]) -> Bytes {
    let mut stored = BytesMut::with_capacity(HEADER_LEN + value.len());
    stored.put_slice(&MARK);
    stored.put_u128(version.as_u128());
    stored.put_slice(value);
    stored.freeze()
}

/// The version and the value in a string that was read. What others wrote is its own value, and its version follows
/// from its bytes.
pub(crate) fn decode(stored: Bytes) -> (Version, Bytes) {
    let version = stored
        .strip_prefix(&MARK)
        .and_then(|rest| rest.first_chunk::<VERSION_LEN>())
        .map(|version| Version::from_u128(u128::from_be_bytes(*version)));
    match version {
        Some(version) => (version, stored.slice(HEADER_LEN..)),
        None => (foreign_version(&stored), stored),
    }
}

/// The version of what others wrote: the first half of its SHA-1, which the script computes alike.
pub(crate) fn foreign_version(stored: &[u8]) -> Version {
    let digest: [u8; 20] = Sha1::digest(stored).into();
    let (version, _) = digest
        .split_first_chunk::<VERSION_LEN>()
        .unwrap_or((&[0; VERSION_LEN], &[]));
    Version::from_u128(u128::from_be_bytes(*version))
}

/// A version as the script takes it: the bytes of the header.
pub(crate) fn version_argument(version: Version) -> Bytes {
    Bytes::copy_from_slice(&version.as_u128().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(version: u128, value: Vec<u8>) {
            let version = Version::from_u128(version);
            let (decoded, bytes) = decode(encode(version, &value));
            prop_assert_eq!(decoded, version);
            prop_assert_eq!(&bytes[..], &value[..]);
        }

        #[test]
        fn any_bytes_decode(stored: Vec<u8>) {
            let (_, value) = decode(Bytes::from(stored.clone()));
            prop_assert!(stored.ends_with(&value));
        }

        #[test]
        fn no_text_is_taken_for_a_record(text: String) {
            let (version, value) = decode(Bytes::from(text.clone()));
            prop_assert_eq!(version, foreign_version(text.as_bytes()));
            prop_assert_eq!(&value[..], text.as_bytes());
        }
    }

    #[test]
    fn the_format_is_pinned() {
        let stored = encode(Version::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), b"value");
        assert_eq!(
            &stored[..],
            b"\xc1r\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10value"
        );
    }

    #[test]
    fn a_short_string_with_the_mark_is_foreign() {
        let stored = Bytes::from_static(b"\xc1r12345");
        assert_eq!(decode(stored.clone()), (foreign_version(&stored), stored));
    }
}
