//! MD5 as text.

use md5::{Digest, Md5};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The MD5 of `content` in lower-case hexadecimal: 32 characters.
pub(crate) fn md5_hex(content: &[u8]) -> String {
    let digest = Md5::digest(content);
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    String::from_utf8_lossy(&text).into_owned()
}
