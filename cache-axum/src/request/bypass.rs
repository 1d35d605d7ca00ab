//! Requests that pass the cache by.

use axum::body::Body;
use cache_http::{Framing, Policy, Reason, connection_names_end_to_end, request_bypass};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use http_body::Body as _;

use crate::request::shared::Shared;

/// Why a request passes the cache by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bypass {
    Disabled,
    Rule(Reason),
    Upgrade,
    Connection,
    Precondition,
    Content,
    NoKey,
    TooLarge,
}

/// The fields by which the route of a request is decided, beside the declared credentials.
const DECISIVE: [HeaderName; 10] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_LENGTH,
    COOKIE,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    RANGE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether a request has none of the fields by which its route is decided. One pass over the few fields of a request
/// costs less than a look-up of each of these.
pub(crate) fn is_plain(shared: &Shared, headers: &HeaderMap) -> bool {
    let credentials = &shared.config.credentials;
    !headers
        .keys()
        .any(|name| DECISIVE.contains(name) || credentials.contains(name))
}

/// Returns why a request bypasses the cache, as far as its head and the framing of its content tell. `is_plain` is what
/// [`is_plain`] says of the request.
pub(crate) fn bypass(shared: &Shared, policy: &Policy, request: &Parts, body: &Body, is_plain: bool) -> Option<Bypass> {
    if !shared.cache.is_enabled() {
        return Some(Bypass::Disabled);
    }
    // Content that is in no key would make answers differ that are taken for the same.
    let is_in_key = shared.config.content_limit(&request.method).is_some();
    if is_plain {
        if !policy.methods.contains(&request.method) {
            return Some(Bypass::Rule(Reason::Method));
        }
        return (body.size_hint().lower() > 0 && !is_in_key).then_some(Bypass::Content);
    }
    if let Some(reason) = request_bypass(
        policy,
        &request.method,
        &shared.config.with_credentials(&request.headers),
    ) {
        return Some(Bypass::Rule(reason));
    }
    let headers = &request.headers;
    if headers.contains_key(UPGRADE) {
        return Some(Bypass::Upgrade);
    }
    // A handler that passes the request on does so without these fields, which the key and the variant may be made
    // of (RFC 9110, section 7.6.1).
    if connection_names_end_to_end(headers) {
        return Some(Bypass::Connection);
    }
    // Not for a cache to evaluate (RFC 9111, section 4.3.2), so the handler is to see them.
    if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Some(Bypass::Precondition);
    }
    let has_content =
        Framing::from_request(request.version, headers) == Framing::Content || body.size_hint().lower() > 0;
    (has_content && !is_in_key).then_some(Bypass::Content)
}

/// Whether a request may have content, as far as its body tells before it is read.
pub(crate) fn may_have_content(body: &Body) -> bool {
    !body.is_end_stream() && body.size_hint().exact() != Some(0)
}
