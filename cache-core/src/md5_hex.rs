//! MD5 as text.

use md5::{Digest, Md5};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The MD5 of `content` in lower-case hexadecimal: 32 characters.
pub(crate) fn md5_hex(content: &[u8]) -> String {
    let digest = Md5::digest(content);
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
