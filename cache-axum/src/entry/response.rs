//! A complete response as it is stored.

use std::borrow::Cow;

use bytes::Bytes;
use cache_http::ETag;
use cache_http::{Lifetime, Policy, Validators, prepare_for_store};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, ETAG};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

/// A complete response as it is stored: status, headers in their order, body, and what a hit needs to know of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) lifetime: Lifetime,
    pub(crate) validators: Validators,
    /// The handler spoke to clients about caching, so the layer does not.
    pub(crate) has_cache_control: bool,
    /// The `ETag` is the layer's own, so the handler would not know it.
    pub(crate) has_own_etag: bool,
}

impl StoredResponse {
    pub(crate) fn new(status: StatusCode, mut headers: HeaderMap, body: Bytes, lifetime: Lifetime) -> Self {
        // The copies that answers are made of inherit the room for what each of them adds.
        headers.reserve(ADDED_TO_ANSWERS);
        Self {
            status,
            validators: Validators::from_headers(&headers),
            has_cache_control: headers.contains_key(CACHE_CONTROL),
            has_own_etag: false,
            headers,
            body,
            lifetime,
        }
    }

    /// Makes a handler's answer ready to be stored: without the fields of one connection, with `Date`, and where it
    /// has content, with `Content-Length` and an entity-tag of it unless the handler gave one.
    pub(crate) fn prepare(policy: &Policy, head: &Parts, body: Bytes, lifetime: Lifetime, etag: OwnEtag) -> Self {
        let mut headers = head.headers.clone();
        prepare_for_store(policy, &mut headers, lifetime.response_time);
        let mut has_own_etag = false;
        if head.status.is_success() && head.status != StatusCode::NO_CONTENT {
            if !headers.contains_key(CONTENT_LENGTH) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            if let Some(mark) = etag.mark()
                && !headers.contains_key(ETAG)
                && let Ok(tag) = HeaderValue::from_bytes(&[mark, &ETag::from_content(&body).to_bytes()].concat())
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

    /// The headers by which the handler can tell whether it would say the same again, if there are any.
    pub(crate) fn to_validate(&self) -> Option<Cow<'_, HeaderMap>> {
        if !self.has_own_etag {
            return self.validators.any().then_some(Cow::Borrowed(&self.headers));
        }
        // A handler that does not know the tag would not even look at the date (RFC 9110, section 13.1.3).
        self.validators.last_modified.map(|_| {
            let mut headers = self.headers.clone();
            headers.remove(ETAG);
            Cow::Owned(headers)
        })
    }
}

/// `Age`, `Cache-Control`, `Cache-Status` and the plain status header.
const ADDED_TO_ANSWERS: usize = 4;

/// The entity-tag that the layer makes for a response without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnEtag {
    Strong,
    Weak,
    /// None: the origin has not spoken, and a gateway does not speak for it.
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
