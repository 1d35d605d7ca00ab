//! The digest that identifies a content.

use md5::{Digest, Md5};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Returns the MD5 of `content` in lower-case hexadecimal, 32 characters. It is the same in every process and on every
/// machine.
///
/// MD5 does not protect against a caller who chooses the content. Compare the contents themselves where that matters.
///
/// ```
/// assert_eq!(cache_http::content_digest(b"hello"), "5d41402abc4b2a76b9719d911017c592");
/// ```
#[must_use]
pub fn content_digest(content: &[u8]) -> String {
    let digest = Md5::digest(content);
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
