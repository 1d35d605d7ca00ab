//! Header fields of answers: those that the layer adds, and those that it reads.

use cache_engine::cache_core::Timestamp;
use cache_http::MAX_SECONDS;
use cache_http::{Lifetime, not_modified_headers};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue};

use crate::config::client_caching::ClientCaching;
use crate::response::header_value::Line;

/// Returns the value of `Content-Length`, if there is one that can be read.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Returns the headers of a 304 for a response with these headers and this length, where it is known. Its body is an empty
/// one, which says so: compression around the layer would take one of unknown length for content, and give the 304 a
/// body. The length that goes out is therefore the one that a 200 would have (RFC 9110, section 8.6); without it the
/// server would add that of the body, zero.
pub(crate) fn headers_without_content(headers: &HeaderMap, length: Option<u64>) -> HeaderMap {
    let mut headers = not_modified_headers(headers);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    headers
}

/// Tells clients in `Cache-Control` how long to keep the response.
pub(crate) fn add_client_caching(client: ClientCaching, headers: &mut HeaderMap, lifetime: &Lifetime, now: Timestamp) {
    let seconds = match client {
        ClientCaching::Remaining => u64::try_from(lifetime.ttl_seconds(now)).unwrap_or(0),
        ClientCaching::MaxAge(age) => age.as_secs(),
        ClientCaching::Revalidate => {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            return;
        }
        ClientCaching::Silent => return,
    };
    let mut line = Line::new();
    line.push("max-age=");
    line.push_number(seconds.min(MAX_SECONDS.into()));
    headers.insert(CACHE_CONTROL, line.to_value());
}
