//! The headers of 206 and 416 (RFC 9110, sections 15.3.7 and 15.5.17).

use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::representation::byte_range::{ByteRange, ContentRange};

/// Returns the headers of a 206 with one range of a stored complete response (RFC 9110, section 15.3.7.1).
#[must_use]
pub fn partial_headers(stored: &HeaderMap, range: ByteRange, complete_length: u64) -> HeaderMap {
    let mut headers = without_whole_content(stored);
    let content_range = ContentRange {
        range: Some(range),
        complete_length: Some(complete_length),
    };
    headers.insert(CONTENT_RANGE, content_range.to_header_value());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.len()));
    headers
}

/// Returns the headers of a 416 for a stored complete response of this length (RFC 9110, section 15.5.17).
#[must_use]
pub fn unsatisfiable_headers(complete_length: u64) -> HeaderMap {
    let content_range = ContentRange {
        range: None,
        complete_length: Some(complete_length),
    };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_RANGE, content_range.to_header_value());
    headers
}

/// Returns the stored headers without those that describe the whole content, or how it is framed, only. A message with a
/// `Content-Length` must not have a `Transfer-Encoding` (RFC 9112, section 6.2).
pub(super) fn without_whole_content(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in ["content-length", "content-md5", "content-digest", "transfer-encoding"] {
        headers.remove(HeaderName::from_static(name));
    }
    headers
}
