//! The request that validates stored responses (RFC 9111, section 4.3.1).

use http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue};

use crate::field::{ETag, parse_date};

/// Turns a request to the origin into one that validates these stored responses, the variants of one resource (RFC 9111,
/// section 4.3.1). Sets `If-None-Match` to all their entity-tags as received, and `If-Modified-Since` if there is only one
/// response and it has `Last-Modified`. Removes the client's own preconditions and `Range`; evaluate those once you have
/// the answer.
///
/// Returns `false` and leaves the request unchanged if none of the responses has a validator.
pub fn make_conditional<'a>(request: &mut HeaderMap, stored: impl IntoIterator<Item = &'a HeaderMap>) -> bool {
    let mut tags: Vec<&HeaderValue> = Vec::new();
    let mut dates = Vec::new();
    let mut responses = 0;
    for headers in stored {
        responses += 1;
        // An unreadable tag cannot be compared. The others go out byte for byte.
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
