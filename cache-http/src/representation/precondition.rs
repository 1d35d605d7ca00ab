//! Preconditions and 304 (RFC 9110, section 13; RFC 9111, section 4.3.2).

use cache_core::Timestamp;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method, StatusCode};

use crate::field::{CONTENT_DIGEST, CONTENT_MD5, EntityTags, REPR_DIGEST, Single, date_of};
use crate::representation::validators::Validators;

/// How a stored response answers a conditional request. RFC 9111 knows no other outcome, so this enum is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// With 304 (Not Modified). See [`not_modified_headers`].
    NotModified,
    /// With the whole response.
    Full,
}

/// Evaluates `If-None-Match` and `If-Modified-Since` of a request against a stored response with these validators
/// (RFC 9110, section 13.2.2; RFC 9111, section 4.3.2). `stored_at` is when the response arrived. It stands in for
/// `Last-Modified` and `Date` if both are missing.
///
/// `If-None-Match` takes precedence: if it is present, `If-Modified-Since` is ignored. Preconditions apply only to GET,
/// HEAD and QUERY and to a stored success. `If-Match` and `If-Unmodified-Since` are for the origin.
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &Validators,
    stored_at: Timestamp,
) -> Outcome {
    if !status.is_success() || !matches!(method.as_str(), "GET" | "HEAD" | "QUERY") {
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

/// Returns the headers of a 304 for a response with these headers (RFC 9110, section 15.4.5): all but those that describe
/// the content. Also drops `Last-Modified` if there is an `ETag`.
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
        TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
    headers
}
