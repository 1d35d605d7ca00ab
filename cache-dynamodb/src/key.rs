//! The encoding of keys as partition keys.

use std::borrow::Cow;
use std::fmt::Write;

use cache_core::Key;
use sha2::{Digest, Sha256};

/// The longest partition key that DynamoDB allows, in bytes of UTF-8.
pub(crate) const MAX_KEY_BYTES: usize = 2048;

/// How many bytes of a key that is too long stay readable.
const READABLE_BYTES: usize = 1024;

/// Separates the readable start from the hash.
const MARKER: &str = "~sha256:";

/// Returns the partition key for `key`: its text or, if that is too long, its start and a hash of the whole text.
///
/// Text that looks like a shortened key is hashed too, so two keys collide only if SHA-256 does.
pub(crate) fn stored(key: &Key) -> Cow<'_, str> {
    encode(key.as_str())
}

fn encode(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_KEY_BYTES && !looks_shortened(text) {
        return Cow::Borrowed(text);
    }
    let start = &text[..text.floor_char_boundary(READABLE_BYTES)];
    let mut stored = String::with_capacity(start.len() + MARKER.len() + 64);
    stored.push_str(start);
    stored.push_str(MARKER);
    for byte in Sha256::digest(text) {
        // Writing to a string never fails.
        let _ = write!(stored, "{byte:02x}");
    }
    Cow::Owned(stored)
}

fn looks_shortened(text: &str) -> bool {
    text.len()
        .checked_sub(64)
        .and_then(|end| text.split_at_checked(end))
        .is_some_and(|(start, hash)| start.ends_with(MARKER) && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_that_fit_are_stored_as_they_are() {
        for text in ["shop:users:42", "", "a\0\r\n", &"k".repeat(MAX_KEY_BYTES)] {
            assert_eq!(encode(text), text);
        }
    }

    #[test]
    fn long_keys_keep_a_readable_start_and_end_in_their_hash() {
        let text = format!("shop:search:{}", "q".repeat(3000));
        let stored = encode(&text);
        assert!(stored.starts_with("shop:search:qqq") && stored.contains(MARKER));
        assert_eq!(stored.len(), READABLE_BYTES + MARKER.len() + 64);
    }

    #[test]
    fn a_key_that_spells_a_shortened_one_is_another_key() {
        let long = "k".repeat(3000);
        let shortened = encode(&long).into_owned();
        assert_ne!(encode(&shortened), shortened);
        assert_ne!(encode(&shortened), encode(&encode(&shortened)));
    }

    proptest! {
        #[test]
        fn every_key_fits_and_no_two_are_stored_alike(
            a in "[a日\u{10ffff}]{0,900}",
            b in "[a日\u{10ffff}]{0,900}",
            common in "[k日]{0,2100}",
        ) {
            let (a, b) = (format!("{common}{a}"), format!("{common}{b}"));
            let (stored_a, stored_b) = (encode(&a), encode(&b));
            prop_assert!(stored_a.len() <= MAX_KEY_BYTES);
            prop_assert_eq!(a == b, stored_a == stored_b);
            // A partition key can be a key itself.
            prop_assert_eq!(encode(&stored_a) == stored_a, a == *stored_a);
        }
    }
}
