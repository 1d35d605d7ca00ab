//! Requests that bypass the cache.

use axum::body::Body;
use cache_http::{Framing, Policy, Reason, connection_names_end_to_end, request_bypass};
use http::header::{IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use http_body::Body as _;

use crate::request::shared::Shared;

/// Why a request bypasses the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bypass {
    Disabled,
    /// A condition of the layer says so.
    Condition,
    /// An operator asks for it.
    Debug,
    Rule(Reason),
    Upgrade,
    Connection,
    Precondition,
    Content,
    NoKey,
    TooLarge,
}

/// Which kinds of fields a request has. One pass over its few fields costs less than a lookup of each name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldSummary {
    /// Whether the request has none of the fields that decide its route.
    pub(crate) is_plain: bool,
    /// Whether the request has none of the fields that ask for less than the whole; see [`cache_http::asks_for_whole`].
    pub(crate) asks_for_whole: bool,
}

impl FieldSummary {
    pub(crate) fn of(shared: &Shared, headers: &HeaderMap) -> Self {
        Self::with(&shared.config.credentials, headers)
    }

    fn with(credentials: &[HeaderName], headers: &HeaderMap) -> Self {
        let (mut is_plain, mut asks_for_whole) = (true, true);
        for name in headers.keys() {
            match name.as_str() {
                "authorization"
                | "cache-control"
                | "connection"
                | "content-length"
                | "cookie"
                | "if-match"
                | "if-unmodified-since"
                | "transfer-encoding"
                | "upgrade" => is_plain = false,
                "range" => (is_plain, asks_for_whole) = (false, false),
                "if-modified-since" | "if-none-match" => asks_for_whole = false,
                _ => {}
            }
            is_plain &= !credentials.contains(name);
        }
        Self {
            is_plain,
            asks_for_whole,
        }
    }
}

/// Returns why a request bypasses the cache, as far as its head and the framing of its content show. `is_plain` comes
/// from its [`FieldSummary`].
pub(crate) fn bypass(shared: &Shared, policy: &Policy, request: &Parts, body: &Body, is_plain: bool) -> Option<Bypass> {
    if !shared.cache.is_enabled() {
        return Some(Bypass::Disabled);
    }
    if shared.config.bypass_if.matches(request) {
        return Some(Bypass::Condition);
    }
    // If content is not part of the key, requests with different content would get the same response.
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
    // A handler that forwards the request removes these fields, on which the key and the variant may depend (RFC 9110,
    // section 7.6.1).
    if connection_names_end_to_end(headers) {
        return Some(Bypass::Connection);
    }
    // A cache does not evaluate these (RFC 9111, section 4.3.2), so the handler must see them.
    if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Some(Bypass::Precondition);
    }
    let has_content =
        Framing::from_request(request.version, headers) == Framing::Content || body.size_hint().lower() > 0;
    (has_content && !is_in_key).then_some(Bypass::Content)
}

/// Returns whether a request may have content, as far as its body shows before it is read.
pub(crate) fn may_have_content(body: &Body) -> bool {
    !body.is_end_stream() && body.size_hint().exact() != Some(0)
}

#[cfg(test)]
mod tests {
    use cache_http::asks_for_whole;
    use http::header::{
        ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING, UPGRADE,
    };
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::FieldSummary;

    /// The fields that decide anything but the key, the variant and the choice of a part.
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

    proptest! {
        #[test]
        fn one_pass_says_what_look_ups_say(chosen: [bool; 16], declares: bool) {
            let declared = HeaderName::from_static("x-session");
            let others = [ACCEPT, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, declared.clone()];
            let names = DECISIVE.into_iter().chain(others).zip(chosen);
            let names = names.filter_map(|(name, is_chosen)| is_chosen.then_some(name));
            let headers: HeaderMap = names.map(|name| (name, HeaderValue::from_static("x"))).collect();
            let credentials = if declares { vec![declared] } else { Vec::new() };
            let is_in = |name: &HeaderName| headers.contains_key(name);
            let looked_up = FieldSummary {
                is_plain: !DECISIVE.iter().chain(&credentials).any(is_in),
                asks_for_whole: asks_for_whole(&headers),
            };
            prop_assert_eq!(FieldSummary::with(&credentials, &headers), looked_up);
        }
    }
}
