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
    let mut text = [0; 32];
    for (digits, byte) in text.chunks_exact_mut(2).zip(Md5::digest(content)) {
        digits.copy_from_slice(&DIGITS[usize::from(byte)]);
    }
    // Digits are UTF-8, so nothing is replaced.
    String::from_utf8_lossy(&text).into_owned()
}
