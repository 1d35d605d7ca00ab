//! `Age` (RFC 9111, section 5.1).

use std::time::Duration;

use http::header::AGE;
use http::{HeaderMap, HeaderValue};

use crate::field::date::Single;
use crate::field::delta_seconds::{MAX_SECONDS, parse_seconds};

/// The value of `Age`. Anything but one number is invalid, lists included (RFC 9111, sections 4.2.1 and 5.1).
pub(crate) fn age_value(headers: &HeaderMap) -> Single<Duration> {
    let mut lines = headers.get_all(AGE).iter();
    let Some(line) = lines.next() else {
        return Single::Absent;
    };
    match (parse_seconds(line.as_bytes()), lines.next()) {
        (Some(seconds), None) => Single::Is(Duration::from_secs(seconds.into())),
        _ => Single::Invalid,
    }
}

/// The value of `Age` for an answer from the cache: whole seconds, never rounded up (RFC 9111, section 5.1).
#[must_use]
pub fn age_header(age: Duration) -> HeaderValue {
    HeaderValue::from(age.as_secs().min(MAX_SECONDS.into()))
}

/// Sets `Age` on an answer from the cache, in the place of any that was stored.
pub fn set_age(headers: &mut HeaderMap, age: Duration) {
    headers.insert(AGE, age_header(age));
}
