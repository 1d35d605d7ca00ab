//! MD5 as text.

use md5::{Digest, Md5};

/// The two digits of each byte.
const DIGITS: [[u8; 2]; 256] = {
    let digit = b"0123456789abcdef";
    let mut digits = [[0; 2]; 256];
    let mut byte = 0;
    while byte < digits.len() {
        digits[byte] = [digit[byte >> 4], digit[byte & 15]];
        byte += 1;
    }
    digits
};

/// The MD5 of `content` in lower-case hexadecimal: 32 characters.
pub(crate) fn md5_hex(content: &[u8]) -> String {
    let digest = Md5::digest(content);
    let mut text = Vec::with_capacity(2 * digest.len());
    for byte in digest {
        text.extend_from_slice(&DIGITS[usize::from(byte)]);
    }
    // Digits are UTF-8, so this copies nothing.
    String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
