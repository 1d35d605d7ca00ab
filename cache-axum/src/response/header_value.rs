//! Short header values, written directly.

use http::HeaderValue;

/// A header value that is being written, on the stack.
pub(crate) struct HeaderLine {
    bytes: [u8; HeaderLine::MAX],
    len: usize,
}

impl HeaderLine {
    /// The maximum length of a line in bytes. What does not fit is omitted.
    pub(crate) const MAX: usize = 128;

    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; Self::MAX],
            len: 0,
        }
    }

    pub(crate) fn push(&mut self, text: &str) {
        let end = self.len + text.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(text.as_bytes());
            self.len = end;
        }
    }

    pub(crate) fn push_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            // A digit always fits.
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        for &digit in &digits[start..] {
            if let Some(room) = self.bytes.get_mut(self.len) {
                *room = digit;
                self.len += 1;
            }
        }
    }

    /// Returns the line as a header value. It is empty if something was pushed that a field cannot contain.
    pub(crate) fn to_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.bytes[..self.len]).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::HeaderLine;

    #[test]
    fn numbers_are_written_as_they_are_elsewhere() {
        for number in [0, 7, 10, 1234567890, u64::MAX] {
            let mut line = HeaderLine::new();
            line.push("n=");
            line.push_number(number);
            assert_eq!(line.to_value(), format!("n={number}"));
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut line = HeaderLine::new();
        line.push("a");
        line.push(&"b".repeat(HeaderLine::MAX));
        line.push("c");
        assert_eq!(line.to_value(), "ac");
    }
}
