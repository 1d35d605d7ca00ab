//! Ranges of bytes, and `Content-Range` (RFC 9110, section 14.4).

use std::fmt;
use std::ops::Range;

use http::header::CONTENT_RANGE;
use http::{HeaderMap, HeaderValue};

/// A range of bytes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last byte, at or after the first.
    pub last: u64,
}

impl ByteRange {
    /// Returns the number of bytes, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range of bytes is never empty")]
    pub fn len(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// Returns the range as indices, or `None` if they do not fit into `usize`.
    #[must_use]
    pub fn to_indices(self) -> Option<Range<usize>> {
        let first = usize::try_from(self.first).ok()?;
        let end = usize::try_from(self.last).ok()?.checked_add(1)?;
        Some(first..end)
    }
}

/// The value of `Content-Range` (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The range that is sent, or `None` if the requested one is unsatisfiable.
    pub range: Option<ByteRange>,
    /// The length of the complete representation, if known.
    pub complete_length: Option<u64>,
}

impl ContentRange {
    /// Parses the `Content-Range` of a response with these headers. Returns `None` if it is absent, broken,
    /// self-contradictory, or of another unit than bytes.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CONTENT_RANGE).iter();
        let value = lines.next()?.to_str().ok()?.trim();
        if lines.next().is_some() {
            return None;
        }
        let (unit, value) = value.split_once(' ')?;
        let (range, length) = value.trim().split_once('/')?;
        // A number that does not fit is not a length here.
        let number = |digits| number(digits).filter(|&number| number < u64::MAX);
        let complete_length = if length == "*" { None } else { Some(number(length)?) };
        let range = if range == "*" {
            None
        } else {
            let (first, last) = range.split_once('-')?;
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Some(ByteRange { first, last }))?
        };
        let fits = match (range, complete_length) {
            (Some(range), Some(length)) => range.last < length,
            (None, None) => false,
            _ => true,
        };
        (unit.eq_ignore_ascii_case("bytes") && fits).then_some(Self { range, complete_length })
    }

    /// Returns the field value.
    #[must_use]
    pub fn to_header_value(self) -> HeaderValue {
        // Digits and punctuation are always a valid value.
        HeaderValue::try_from(self.to_string()).unwrap_or_else(|_| HeaderValue::from_static("bytes */*"))
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            Some(ByteRange { first, last }) => write!(f, "bytes {first}-{last}/")?,
            None => f.write_str("bytes */")?,
        }
        match self.complete_length {
            Some(length) => write!(f, "{length}"),
            None => f.write_str("*"),
        }
    }
}

/// Parses digits. A number that does not fit becomes the largest, which is longer than any content.
pub(super) fn number(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}
