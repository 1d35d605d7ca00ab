//! The output that a key is written to.

use std::fmt::Write;

use cache_engine::cache_core::KeyWriter;

/// The output that a key is written to: the name alone, or the whole key.
pub(super) trait Text {
    fn push_str(&mut self, text: &str);

    fn push(&mut self, c: char);
}

impl Text for String {
    #[inline]
    fn push_str(&mut self, text: &str) {
        self.push_str(text);
    }

    #[inline]
    fn push(&mut self, c: char) {
        self.push(c);
    }
}

impl Text for KeyWriter {
    #[inline]
    fn push_str(&mut self, text: &str) {
        self.push_str(text);
    }

    #[inline]
    fn push(&mut self, c: char) {
        self.push(c);
    }
}

/// Appends an authority. Escapes everything that could be confused with a part of the path.
pub(super) fn push_authority(out: &mut impl Text, authority: &[u8]) {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b':' | b'_' | b'~' | b'[' | b']');
    push_escaping(out, authority, is_plain);
}

/// Appends a text as one word without spaces.
pub(super) fn push_word(out: &mut impl Text, word: &[u8]) {
    let is_plain =
        |byte: u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b':' | b'_' | b'~' | b'@');
    push_escaping(out, word, is_plain);
}

/// Appends `bytes`. Escapes bytes that are not plain as `%` and two digits. Only ASCII may be plain.
fn push_escaping(out: &mut impl Text, bytes: &[u8], is_plain: impl Fn(u8) -> bool) {
    if bytes.iter().all(|&byte| is_plain(byte))
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        out.push_str(text);
        return;
    }
    let mut escaped = String::with_capacity(3 * bytes.len());
    for &byte in bytes {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    out.push_str(&escaped);
}
