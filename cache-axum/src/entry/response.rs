//! A complete response as it is stored.

use std::borrow::Cow;

use bytes::Bytes;
use cache_http::ETag;
use cache_http::{Lifetime, Policy, Validators, content_digest, prepare_for_store};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPIRES};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::entry::variant_index::Audience;
use crate::key::routing::Routing;

/// A complete response as it is stored: status, headers in their order, body, and what a hit needs to know about them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) lifetime: Lifetime,
    pub(crate) validators: Validators,
    /// Whether the handler sent clients information about caching, so that the layer does not.
    pub(crate) has_cache_control: bool,
    /// Whether the layer generated the `ETag`, so that the handler would not know it.
    pub(crate) has_own_etag: bool,
    /// The waiting requests that this response of a failed handler is for. Such a response is never stored. `None` for all
    /// others.
    pub(crate) failed_for: Option<Box<Audience>>,
    /// The route of the request that the response was made for.
    pub(crate) routing: Routing,
    /// The keys by which caches downstream purge the response, if it has any.
    pub(crate) surrogate_keys: Option<Box<str>>,
}

impl StoredResponse {
    pub(crate) fn new(status: StatusCode, mut headers: HeaderMap, body: Bytes, lifetime: Lifetime) -> Self {
        // The copies for the responses inherit the capacity for the fields that each response adds.
        headers.reserve(ADDED_TO_ANSWERS);
        Self {
            status,
            validators: Validators::from_headers(&headers),
            has_cache_control: headers.contains_key(CACHE_CONTROL) || headers.contains_key(EXPIRES),
            has_own_etag: false,
            failed_for: None,
            routing: Routing::default(),
            surrogate_keys: None,
            headers,
            body,
            lifetime,
        }
    }

    /// Returns the headers of a handler's response for use by other requests: without the fields of one connection,
    /// with `Date`.
    pub(crate) fn prepared_headers(policy: &Policy, headers: &HeaderMap, lifetime: &Lifetime) -> HeaderMap {
        let mut headers = headers.clone();
        prepare_for_store(policy, &mut headers, lifetime.response_time);
        headers
    }

    /// Prepares a handler's response for storage: removes the fields of one connection and adds `Date`. If the response
    /// has content, also adds `Content-Length`, and an entity-tag if the handler gave none.
    pub(crate) fn prepare(policy: &Policy, head: &Parts, body: Bytes, lifetime: Lifetime, etag: OwnEtag) -> Self {
        let mut headers = Self::prepared_headers(policy, &head.headers, &lifetime);
        let mut has_own_etag = false;
        if head.status.is_success() && head.status != StatusCode::NO_CONTENT {
            if !headers.contains_key(CONTENT_LENGTH) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            if let Some(mark) = etag.mark()
                && !headers.contains_key(ETAG)
                && let Ok(tag) = HeaderValue::from_bytes(&[mark, &own_etag(&headers, &body).to_bytes()].concat())
            {
                headers.insert(ETAG, tag);
                has_own_etag = true;
            }
        }
        Self {
            has_own_etag,
            ..Self::new(head.status, headers, body, lifetime)
        }
    }

    /// Returns the headers by which the handler can validate the response, if there are any.
    pub(crate) fn to_validate(&self) -> Option<Cow<'_, HeaderMap>> {
        if !self.has_own_etag {
            return self.validators.any().then_some(Cow::Borrowed(&self.headers));
        }
        // A handler that does not know the tag would ignore the date (RFC 9110, section 13.1.3).
        self.validators.last_modified.map(|_| {
            let mut headers = self.headers.clone();
            headers.remove(ETAG);
            Cow::Owned(headers)
        })
    }
}

/// `Age`, `Cache-Control`, `Vary`, `Cache-Status`, the plain status header, and the keys for caches downstream.
const ADDED_TO_ANSWERS: usize = 6;

/// The entity-tag that the layer makes for a response without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnEtag {
    Strong,
    Weak,
    /// No entity-tag: the origin sent none, and a gateway does not add one for it.
    Absent,
}

impl OwnEtag {
    fn mark(self) -> Option<&'static [u8]> {
        match self {
            Self::Strong => Some(b""),
            Self::Weak => Some(b"W/"),
            Self::Absent => None,
        }
    }
}

/// Returns an entity-tag for a representation. It depends on the media type and the coding as well as on the content,
/// so that no two representations of a resource have the same entity-tag.
fn own_etag(headers: &HeaderMap, body: &[u8]) -> ETag {
    let metadata =
        [CONTENT_TYPE, CONTENT_ENCODING].map(|name| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes));
    if metadata.iter().all(|value| value.is_empty()) {
        return ETag::from_content(body);
    }
    let content = content_digest(body);
    // Neither value can contain a line break.
    ETag::from_content(&[metadata[0], metadata[1], content.as_bytes()].join(&b'\n'))
}
