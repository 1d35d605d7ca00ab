//! The encoding of keys: at most 250 bytes of printable ASCII.

use std::borrow::Cow;

use cache_core::Key;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// The longest key that memcached allows.
const LONGEST: usize = 250;

/// The characters that memcached does not allow, and `%`, so that no two keys have the same encoding. Non-ASCII
/// characters are always encoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Separates the start of a long key from its hash. Encoded text never contains it, since two hexadecimal digits follow
/// each `%` there.
const HASH_FOLLOWS: &str = "%~";

const HASH_BYTES: usize = 16;

/// How many bytes of a long key stay readable.
const START: usize = LONGEST - HASH_FOLLOWS.len() - 2 * HASH_BYTES;

/// An encoded key, and the hash by which a record is checked.
#[derive(Debug, Clone)]
pub(crate) struct StoreKey<'a> {
    text: Cow<'a, str>,
    check: [u8; HASH_BYTES],
}

impl<'a> StoreKey<'a> {
    pub(crate) fn new(key: &'a Key) -> Self {
        // One half of the hash goes into a long key, the other half into each record. A record is accepted only if both
        // match.
        let hash: [u8; 2 * HASH_BYTES] = Sha256::digest(key.as_str().as_bytes()).into();
        let (short, check) = hash.split_at(HASH_BYTES);
        let mut text = encoded(key.as_str());
        if text.len() > LONGEST {
            let text = text.to_mut();
            text.truncate(START);
            text.push_str(HASH_FOLLOWS);
            for byte in short {
                text.push(hex_digit(byte >> 4));
                text.push(hex_digit(byte & 15));
            }
        }
        let mut own = [0; HASH_BYTES];
        own.copy_from_slice(check);
        Self { text, check: own }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the half of the hash that is stored in the record and compared on reading.
    pub(crate) fn check(&self) -> [u8; HASH_BYTES] {
        self.check
    }
}

/// Encodes a text. Most keys stay as they are, and are not copied.
fn encoded(text: &str) -> Cow<'_, str> {
    // Without a branch for each byte, many are looked at in one step.
    let is_plain = text
        .bytes()
        .fold(true, |plain, byte| plain & byte.is_ascii_graphic() & (byte != b'%'));
    if is_plain {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(utf8_percent_encode(text, ENCODED).collect())
    }
}

fn hex_digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 })
}

#[cfg(test)]
mod tests {
    use cache_core::Prefix;
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn written(name: &str) -> String {
        StoreKey::new(&Prefix::new("shop").namespace("users").key(name))
            .text
            .into_owned()
    }

    #[test]
    fn a_key_is_readable() {
        assert_eq!(written("42"), "shop:users:42");
        assert_eq!(written("a b"), "shop:users:a%20b");
        assert_eq!(written("a\r\nset x 0 0 1"), "shop:users:a%0D%0Aset%20x%200%200%201");
        assert_eq!(written("Zoë"), "shop:users:Zo%C3%AB");
        assert_eq!(written("%20"), "shop:users:%2520");
    }

    #[test]
    fn a_long_key_ends_in_its_hash() {
        let longest = "k".repeat(LONGEST - "shop:users:".len());
        assert_eq!(written(&longest), format!("shop:users:{longest}"));
        let longer = written(&format!("{longest}k"));
        assert_eq!(longer.len(), LONGEST);
        assert_eq!(&longer[..START], &format!("shop:users:{longest}")[..START]);
        // A later release must find the records of an earlier one.
        assert_eq!(&longer[START..], "%~e7e452aba3d0bc9d4fe9f14e6e092693");
    }

    proptest! {
        #[test]
        fn any_key_is_what_memcached_takes(name in ".{0,300}") {
            let text = written(&name);
            prop_assert!(text.len() <= LONGEST);
            prop_assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        }

        #[test]
        fn what_is_not_copied_needs_no_encoding(text in "[ -~]{0,40}|\\PC{0,10}") {
            let all: String = utf8_percent_encode(&text, ENCODED).collect();
            prop_assert_eq!(encoded(&text), all);
        }

        #[test]
        fn a_short_key_can_be_read_back(name in "\\PC{0,40}|[%~0-9A-F]{0,40}|[\0-\u{ff}]{0,20}") {
            let text = written(&name);
            if !text.contains(HASH_FOLLOWS) {
                let decoded = percent_decode_str(&text).decode_utf8().unwrap().into_owned();
                prop_assert_eq!(decoded, format!("shop:users:{name}"));
            }
        }

        #[test]
        fn no_two_keys_are_written_alike(
            a in "[%~a0 ]{0,6}|[%~a]{236,242}",
            b in "[%~a0 ]{0,6}|[%~a]{236,242}",
        ) {
            prop_assert_eq!(written(&a) == written(&b), a == b);
        }

        #[test]
        fn long_keys_with_a_common_start_are_apart(end_a in "[a-z]{1,3}", end_b in "[a-z]{1,3}") {
            let start = "s".repeat(400);
            let (a, b) = (format!("{start}{end_a}"), format!("{start}{end_b}"));
            prop_assert_eq!(written(&a) == written(&b), a == b);
        }
    }
}
