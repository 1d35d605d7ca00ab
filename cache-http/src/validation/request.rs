//! The request that validates stored responses (RFC 9111, section 4.3.1).

use http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue};

use crate::field::{ETag, parse_date};

/// Makes a request to the origin one that validates these stored responses, variants of one resource (RFC 9111,
/// section 4.3.1): `If-None-Match` with all their entity-tags, as they were received, and `If-Modified-Since` if there
/// is one response and it has `Last-Modified`.
///
/// Returns `false`, with the request unchanged, if none of them has a validator. Otherwise the client's own
/// preconditions and `Range` are removed: they are for the cache to evaluate once it has an answer.
pub fn make_conditional<'a>(request: &mut HeaderMap, stored: impl IntoIterator<Item = &'a HeaderMap>) -> bool {
    let mut tags: Vec<&HeaderValue> = Vec::new();
    let mut dates = Vec::new();
    let mut responses = 0;
    for headers in stored {
        responses += 1;
        // A tag that nobody could compare is of no use; the others go out byte for byte.
        if let Some(tag) = headers.get(ETAG).filter(|tag| ETag::parse(tag).is_some())
            && !tags.contains(&tag)
        {
            tags.push(tag);
        }
        dates.extend(
            headers
                .get(LAST_MODIFIED)
                .filter(|date| parse_date(date.as_bytes()).is_some()),
        );
    }
    if responses > 1 {
        dates.clear();
    }
    if tags.is_empty() && dates.is_empty() {
        return false;
    }
    for name in [
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
        IF_RANGE,
        RANGE,
    ] {
        request.remove(name);
    }
    let list: Vec<&[u8]> = tags.iter().map(|tag| tag.as_bytes()).collect();
    if let Ok(list) = HeaderValue::from_bytes(&list.join(&b", "[..]))
        && !list.is_empty()
    {
        request.insert(IF_NONE_MATCH, list);
    }
    if let Some(date) = dates.first() {
        request.insert(IF_MODIFIED_SINCE, (*date).clone());
    }
    true
}
