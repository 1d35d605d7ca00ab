//! Preconditions of clients, which the cache evaluates, and 304 (RFC 9110, section 13; RFC 9111, section 4.3.2).

use cache_core::Timestamp;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED,
};
use http::{HeaderMap, Method, StatusCode};

use crate::field::{CONTENT_DIGEST, CONTENT_MD5, EntityTags, REPR_DIGEST, Single, date_of};
use crate::representation::validators::Validators;

/// How a stored response answers a request that is conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// With 304 (Not Modified); see [`not_modified_headers`].
    NotModified,
    /// With the whole response.
    Full,
}

/// Evaluates `If-None-Match` and `If-Modified-Since` of a request against a stored response with these validators
/// (RFC 9110, section 13.2.2; RFC 9111, section 4.3.2). `stored_at` is when the response arrived; it stands in for
/// `Last-Modified` and `Date` where both are missing.
///
/// `If-None-Match` wins: where it is there, `If-Modified-Since` is not looked at. Preconditions only count for GET and
/// HEAD and for a stored success. `If-Match` and `If-Unmodified-Since` are none of a cache's business.
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &Validators,
    stored_at: Timestamp,
) -> Outcome {
    if !status.is_success() || !(method == Method::GET || method == Method::HEAD) {
        return Outcome::Full;
    }
    let not_modified = if request.contains_key(IF_NONE_MATCH) {
        EntityTags::parse(request.get_all(IF_NONE_MATCH)).matches_weak(stored.etag.as_ref())
    } else {
        match date_of(request, IF_MODIFIED_SINCE) {
            Single::Is(since) => {
                let changed = stored.last_modified.or(stored.date).unwrap_or(stored_at);
                changed.as_millis() / 1000 <= since.as_millis() / 1000
            }
            Single::Absent | Single::Invalid => false,
        }
    };
    if not_modified {
        Outcome::NotModified
    } else {
        Outcome::Full
    }
}

/// The headers of a 304 that stands for a response with these headers (RFC 9110, section 15.4.5): all but those that
/// describe the content it does not carry. `Last-Modified` goes too if there is an `ETag`.
#[must_use]
pub fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in [
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        CONTENT_MD5,
        CONTENT_DIGEST,
        REPR_DIGEST,
    ] {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
    headers
}
