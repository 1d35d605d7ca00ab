//! What the cache holds under the key of a request.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_engine::cache_core::{FreshnessWindows, Key, Timestamp};
use cache_engine::{Cache, Found};
use cache_http::{ETag, Lifetime, Normalization, Policy, Validators, prepare_for_store, variant_key};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, ETAG};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// What the cache holds under the key of a request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Stored {
    /// A response.
    Response(StoredResponse),
    /// Where to look for the response that the request selects.
    Variants(Variants),
}

/// A complete response as it is stored: status, headers in their order, body, and what a hit needs to know of them.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResponse {
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

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How long it is fresh, and how it may be used after that.
    #[must_use]
    pub fn lifetime(&self) -> &Lifetime {
        &self.lifetime
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

/// How long a store keeps a response, and what for. What is kept for nothing but validation is in the last window,
/// since a store knows no other; whether it may be answered is for its [`Lifetime`] to say.
pub(crate) fn windows(policy: &Policy, response: &StoredResponse) -> FreshnessWindows {
    let lifetime = &response.lifetime;
    let validated = response
        .to_validate()
        .map_or(Duration::ZERO, |_| policy.keep_for_validation);
    if lifetime.no_cache {
        return FreshnessWindows::new(Duration::ZERO).with_stale_if_error(validated);
    }
    let windows = FreshnessWindows::new(lifetime.fresh.saturating_sub(lifetime.initial_age));
    if lifetime.must_revalidate {
        return windows.with_stale_if_error(validated);
    }
    let on_error = lifetime.stale_if_error.max(policy.stale_if_disconnected);
    windows
        .with_stale_while_revalidate(lifetime.stale_while_revalidate.unwrap_or_default())
        .with_stale_if_error(on_error.unwrap_or_default().max(validated))
}

/// Stands under the key of a request whose responses are kept elsewhere: one for each selection of request fields
/// that `Vary` names, or in the namespace that the handler chose.
///
/// The generation is part of the keys of the responses. It is random and new with each marker, so what an invalidation
/// of the marker has cut off is never found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variants {
    pub(crate) fields: Vec<HeaderName>,
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) generation: u128,
    /// The responses that this leads to, so that their number has a bound: a fingerprint of each selection, and until
    /// when its response is kept. Lossy: of two that are stored at the same time, one may be missing.
    pub(crate) listed: Vec<(u64, Timestamp)>,
}

impl Variants {
    pub(crate) fn new(fields: Vec<HeaderName>, namespace: Option<Box<str>>) -> Self {
        Self {
            fields,
            namespace,
            generation: fastrand::u128(..),
            listed: Vec::new(),
        }
    }

    /// Whether the selection is listed, and how many others are.
    pub(crate) fn listing(&self, selection: u64, now: Timestamp) -> (bool, usize) {
        let kept = || self.listed.iter().filter(|(_, until)| *until > now);
        let is_listed = kept().any(|(listed, _)| *listed == selection);
        (is_listed, kept().count() - usize::from(is_listed))
    }

    /// With the selection listed, and without those whose time is over.
    pub(crate) fn with_listed(&self, selection: u64, until: Timestamp, now: Timestamp) -> Self {
        let mut listed = self.listed.clone();
        listed.retain(|(other, until)| *other != selection && *until > now);
        listed.push((selection, until));
        Self { listed, ..self.clone() }
    }

    /// A number that stands for what a request with these headers selects, the same in every process.
    pub(crate) fn selection(&self, request: &HeaderMap, normalization: &Normalization) -> u64 {
        let digest = ETag::from_content(variant_key(&self.fields, request, normalization).as_bytes());
        let digits = std::str::from_utf8(digest.opaque())
            .ok()
            .and_then(|digits| digits.get(..16));
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .unwrap_or_default()
    }

    /// The request fields that select a response.
    #[must_use]
    pub fn fields(&self) -> &[HeaderName] {
        &self.fields
    }

    /// The namespace of the responses, if it is another one than the marker's.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Whether responses that vary by `fields` can be kept under this marker.
    pub(crate) fn covers(&self, fields: &[HeaderName], namespace: Option<&str>) -> bool {
        self.namespace() == namespace && fields.iter().all(|field| self.fields.contains(field))
    }

    /// A marker for responses that vary by `fields` as well.
    pub(crate) fn widened(&self, fields: &[HeaderName], namespace: Option<Box<str>>) -> Self {
        let mut all = self.fields.clone();
        all.extend(fields.iter().filter(|field| !self.fields.contains(field)).cloned());
        all.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        Self::new(all, namespace)
    }

    /// The key of the response that a request with these headers selects.
    pub(crate) fn key<C>(
        &self,
        cache: &Cache<C>,
        primary: &Key,
        request: &HeaderMap,
        normalization: &Normalization,
    ) -> Key {
        let mut name = String::with_capacity(primary.name().len() + 64);
        name.push_str(primary.name());
        // Writing to a string cannot fail.
        let _ = write!(name, " #{:032x} ", self.generation);
        name.push_str(&variant_key(&self.fields, request, normalization));
        match &self.namespace {
            Some(namespace) => cache.with_namespace(namespace).key(name),
            None => primary.namespace().key(name),
        }
    }
}

/// A stale copy as it is to be answered: stale by its own account too. One that was softly invalidated does not know it.
pub(crate) fn stale_copy(policy: &Policy, found: &Found<Stored>, stored: &Arc<Stored>, now: Timestamp) -> Arc<Stored> {
    match &**stored {
        Stored::Response(response) if response.lifetime.is_fresh(now) => {
            let longest = |windows: &FreshnessWindows| windows.stale_while_revalidate.max(windows.stale_if_error);
            let fresh = found.windows.fresh.unwrap_or(Duration::MAX);
            let left = longest(&found.windows).saturating_sub(found.age(now).saturating_sub(fresh));
            // What is left of its windows tells when they began, however that is written down.
            let stale_for = longest(&windows(policy, response)).saturating_sub(left);
            let mut response = response.clone();
            response.lifetime.fresh = response.lifetime.age(now).saturating_sub(stale_for);
            Arc::new(Stored::Response(response))
        }
        _ => Arc::clone(stored),
    }
}

/// How long a marker is kept: longer than what it leads to, since a response is out of reach once its marker is gone.
/// It is of use when it is stale, which it is only if it was softly invalidated, for as long as what it leads to.
pub(crate) fn marker_windows(response: &FreshnessWindows) -> FreshnessWindows {
    const LEAST: Duration = Duration::from_secs(24 * 60 * 60);
    let kept = response.fresh.map(|fresh| {
        let stale = response.stale_while_revalidate.max(response.stale_if_error);
        fresh.saturating_add(stale).saturating_mul(2).max(LEAST)
    });
    FreshnessWindows::new(kept)
        .with_stale_while_revalidate(response.stale_while_revalidate)
        .with_stale_if_error(response.stale_if_error)
}
