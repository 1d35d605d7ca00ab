//! `Age` (RFC 9111, section 5.1).

use std::time::Duration;

use http::header::AGE;
use http::{HeaderMap, HeaderValue};

use crate::field::delta_seconds::{MAX_SECONDS, parse_seconds};

/// Reads `Age`. The first member of a list counts, and an invalid value is ignored (RFC 9111, section 5.1). A number with
/// parameters, which the grammar does not have, counts as the number.
pub(crate) fn age_value(headers: &HeaderMap) -> Option<Duration> {
    let line = headers.get(AGE)?.as_bytes();
    let first = line.split(|byte| matches!(byte, b',' | b';')).next()?;
    Some(Duration::from_secs(parse_seconds(first)?.into()))
}

/// Returns the value of `Age` for an answer from the cache, in whole seconds, rounded down (RFC 9111, section 5.1).
#[must_use]
pub fn age_header(age: Duration) -> HeaderValue {
    HeaderValue::from(age.as_secs().min(MAX_SECONDS.into()))
}

/// Sets `Age` on an answer from the cache. Replaces a stored one.
pub fn set_age(headers: &mut HeaderMap, age: Duration) {
    headers.insert(AGE, age_header(age));
}
