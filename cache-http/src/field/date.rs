//! Dates (RFC 9110, section 5.6.7).

use cache_core::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The last second that a date can express, 9999-12-31T23:59:59Z.
const LAST: u64 = 253_402_300_799;

/// The length of the longest date, `Wednesday, 06-Nov-94 08:49:37 GMT`.
const LONGEST: usize = 33;

/// Parses a date in any of the three formats that recipients must accept (RFC 9110, section 5.6.7):
/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
///
/// Names of days, months and the zone may have any case (RFC 9111, section 4.2). A year of two digits lies between 1970 and
/// 2069.
#[must_use]
pub fn parse_date(value: &[u8]) -> Option<Timestamp> {
    let value = value.trim_ascii();
    let mut text = [0; LONGEST];
    let text = text.get_mut(..value.len())?;
    text.copy_from_slice(value);
    for word in text.split_mut(|byte| !byte.is_ascii_alphabetic()) {
        if word.eq_ignore_ascii_case(b"gmt") {
            word.make_ascii_uppercase();
        } else if let Some((first, rest)) = word.split_first_mut() {
            first.make_ascii_uppercase();
            rest.make_ascii_lowercase();
        }
    }
    let text = std::str::from_utf8(text).ok()?;
    Some(httpdate::parse_http_date(text).ok()?.into())
}

/// Returns the field value for a time, to the second.
#[must_use]
pub fn format_date(time: Timestamp) -> HeaderValue {
    let seconds = (time.as_millis() / 1000).min(LAST);
    let text = httpdate::fmt_http_date(Timestamp::from_millis(seconds * 1000).into());
    // The text is ASCII by construction.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// The reading of a field that should have one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Single<T> {
    Absent,
    /// The field is unreadable, or its lines differ.
    Invalid,
    Is(T),
}

impl<T> Single<T> {
    pub(crate) fn valid(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }
}

/// Reads a date field. Several lines are valid if they are equal.
pub(crate) fn date_of(headers: &HeaderMap, name: HeaderName) -> Single<Timestamp> {
    let mut lines = headers.get_all(name).iter();
    let Some(first) = lines.next() else {
        return Single::Absent;
    };
    if lines.any(|line| line != first) {
        return Single::Invalid;
    }
    parse_date(first.as_bytes()).map_or(Single::Invalid, Single::Is)
}
