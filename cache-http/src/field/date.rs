//! Dates in field values.

use cache_core::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The last second that a date field can express, 9999-12-31T23:59:59Z.
const LAST: u64 = 253_402_300_799;

/// The time that a date field gives, in any of the three formats that recipients must take (RFC 9110, section 5.6.7):
/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
#[must_use]
pub fn parse_date(value: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(value).ok()?;
    Some(httpdate::parse_http_date(text.trim()).ok()?.into())
}

/// The date field value for a time, to the second.
#[must_use]
pub fn format_date(time: Timestamp) -> HeaderValue {
    let seconds = (time.as_millis() / 1000).min(LAST);
    let text = httpdate::fmt_http_date(Timestamp::from_millis(seconds * 1000).into());
    // The text is ASCII by construction.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// What a field that should stand alone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Single<T> {
    Absent,
    /// It is there, but not readable, or it says two different things.
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

/// A date field. Several lines are valid as long as they are equal.
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
