//! May this response be stored and shared (RFC 9111, section 3)?
//!
//! The question comes in two halves. [`request_bypass`] is asked before anything is looked up or collapsed;
//! [`storable`] when the response is there.

use std::fmt;

use http::header::{AUTHORIZATION, COOKIE, ETAG, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use crate::cache_control::{RequestDirectives, ResponseDirectives};
use crate::freshness::Lifetime;
use crate::policy::{Policy, Sharing, Statuses, is_heuristically_cacheable};
use crate::vary::Vary;

/// Whether a response may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Storable {
    /// It may.
    Yes,
    /// It may not.
    No(Reason),
}

impl Storable {
    /// Whether it may be stored.
    #[must_use]
    pub fn is_yes(self) -> bool {
        self == Self::Yes
    }

    /// Why it may not be stored.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Yes => None,
            Self::No(reason) => Some(reason),
        }
    }
}

/// Why a response is not stored, or a request does not look into the cache.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The method is none that the cache serves.
    Method,
    /// The request has `Authorization`.
    Authorization,
    /// The request has `Cookie`.
    Cookie,
    /// The request says `no-store`.
    RequestNoStore,
    /// The status is none that the cache stores, or none that it knows although it must (`must-understand`).
    Status,
    /// The response is a part of a representation.
    Partial,
    /// The response says `no-store`.
    NoStore,
    /// The response is `private`.
    Private,
    /// The response says `no-cache`, and this cache does not validate or has nothing to validate with.
    NoCache,
    /// The response sets a cookie.
    SetCookie,
    /// The response says `Vary: *`.
    VaryAny,
    /// The response is not fresh, has no window in which it may be used stale, and this cache does not validate or
    /// has nothing to validate with.
    NotFresh,
    /// The body is larger than the cache takes. For those who collect bodies.
    TooLarge,
    /// The body ended early. For those who collect bodies.
    Incomplete,
    /// There are too many variants of the URL. For those who count them.
    TooManyVariants,
}

impl Reason {
    /// The reason as a token, for the `detail` of `Cache-Status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::RequestNoStore => "request-no-store",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::SetCookie => "set-cookie",
            Self::VaryAny => "vary-any",
            Self::NotFresh => "not-fresh",
            Self::TooLarge => "too-large",
            Self::Incomplete => "incomplete",
            Self::TooManyVariants => "too-many-variants",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request must pass the cache by, or `None` if it may look into it. A request that passes by is neither
/// answered from the cache nor joined with others, and its response is not stored.
///
/// What may be shared only if the response allows it ([`Sharing::Explicit`]) may be looked up: what is found there was
/// allowed. Whether it may wait for another request's response is for [`may_collapse`] to say.
///
/// ```
/// use cache_http::{Policy, Reason, Sharing, request_bypass};
/// use http::header::{COOKIE, HeaderValue};
/// use http::{HeaderMap, Method};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(COOKIE, HeaderValue::from_static("session=1"));
/// let mut policy = Policy::route();
/// assert_eq!(request_bypass(&policy, &Method::GET, &headers), Some(Reason::Cookie));
/// policy.cookie = Sharing::Always;
/// assert_eq!(request_bypass(&policy, &Method::GET, &headers), None);
/// ```
#[must_use]
pub fn request_bypass(policy: &Policy, method: &Method, headers: &HeaderMap) -> Option<Reason> {
    if !policy.methods.contains(method) {
        return Some(Reason::Method);
    }
    if policy.authorization == Sharing::Never && headers.contains_key(AUTHORIZATION) {
        return Some(Reason::Authorization);
    }
    if policy.cookie == Sharing::Never && headers.contains_key(COOKIE) {
        return Some(Reason::Cookie);
    }
    if says_no_store(policy, headers) {
        return Some(Reason::RequestNoStore);
    }
    None
}

/// Whether a request may wait for the response to another of the same key, or be the one that others wait for, before
/// there is a response that says whether it may be shared.
///
/// A request with credentials may not, where the response decides on sharing ([`Sharing::Explicit`]): most such
/// responses turn out to be for one user.
#[must_use]
pub fn may_collapse(policy: &Policy, headers: &HeaderMap) -> bool {
    let undecided = |sharing: Sharing, name| sharing != Sharing::Always && headers.contains_key(name);
    !undecided(policy.authorization, AUTHORIZATION) && !undecided(policy.cookie, COOKIE)
}

/// Whether a response may be stored and shared. `lifetime` is the response's, from [`Lifetime::of`] with the same
/// policy.
///
/// HEAD is never stored: its response has no body. Whoever answers HEAD by GET passes the method that was sent.
pub fn storable(
    policy: &Policy,
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    lifetime: &Lifetime,
) -> Storable {
    if method == Method::HEAD {
        return Storable::No(Reason::Method);
    }
    if let Some(reason) = request_bypass(policy, method, request) {
        return Storable::No(reason);
    }
    let directives = policy.directives(response);
    let refusal = status_refusal(policy, status, &directives)
        .or_else(|| directive_refusal(policy, status, &directives))
        .or_else(|| credential_refusal(policy, request, response, &directives))
        .or_else(|| {
            let any = !policy.allow_vary_any && Vary::of(response).is_any();
            any.then_some(Reason::VaryAny)
        })
        .or_else(|| freshness_refusal(policy, status, response, &directives, lifetime));
    refusal.map_or(Storable::Yes, Storable::No)
}

fn says_no_store(policy: &Policy, request: &HeaderMap) -> bool {
    policy.request_directives && !policy.allow_no_store && RequestDirectives::of(request).no_store
}

fn status_refusal(policy: &Policy, status: StatusCode, directives: &ResponseDirectives) -> Option<Reason> {
    if status == StatusCode::PARTIAL_CONTENT {
        return (!policy.allow_partial).then_some(Reason::Partial);
    }
    let storable = !status.is_informational() && status != StatusCode::NOT_MODIFIED && policy.statuses.take(status);
    let understood = !directives.must_understand || is_understood(status);
    (!storable || !understood).then_some(Reason::Status)
}

fn directive_refusal(policy: &Policy, status: StatusCode, directives: &ResponseDirectives) -> Option<Reason> {
    // RFC 9111, section 5.2.2.3: who knows the status ignores `no-store` beside `must-understand`.
    let no_store = directives.no_store && !(directives.must_understand && is_understood(status));
    if no_store && !policy.allow_no_store {
        return Some(Reason::NoStore);
    }
    (directives.private.is_whole() && !policy.allow_private).then_some(Reason::Private)
}

fn credential_refusal(
    policy: &Policy,
    request: &HeaderMap,
    response: &HeaderMap,
    directives: &ResponseDirectives,
) -> Option<Reason> {
    let explicit = is_shared_by_name(directives);
    if request.contains_key(AUTHORIZATION) && refuses(policy.authorization, explicit || directives.must_revalidate) {
        return Some(Reason::Authorization);
    }
    if request.contains_key(COOKIE) && refuses(policy.cookie, explicit) {
        return Some(Reason::Cookie);
    }
    // A cookie that a qualified directive withholds is not stored with the rest.
    let withheld = directives.withheld_fields().any(|name| *name == SET_COOKIE);
    if response.contains_key(SET_COOKIE) && !withheld && refuses_set_cookie(policy, directives) {
        return Some(Reason::SetCookie);
    }
    None
}

/// Whether `Set-Cookie` of a response with these directives is kept from others.
pub(crate) fn refuses_set_cookie(policy: &Policy, directives: &ResponseDirectives) -> bool {
    refuses(policy.set_cookie, is_shared_by_name(directives))
}

fn is_shared_by_name(directives: &ResponseDirectives) -> bool {
    directives.public || directives.s_maxage.is_some()
}

fn refuses(sharing: Sharing, explicit: bool) -> bool {
    match sharing {
        Sharing::Never => true,
        Sharing::Explicit => !explicit,
        Sharing::Always => false,
    }
}

/// The last conditions of RFC 9111, section 3, and beyond them: what could never be used is not stored.
fn freshness_refusal(
    policy: &Policy,
    status: StatusCode,
    response: &HeaderMap,
    directives: &ResponseDirectives,
    lifetime: &Lifetime,
) -> Option<Reason> {
    let may_validate = policy.allow_no_cache && (response.contains_key(ETAG) || response.contains_key(LAST_MODIFIED));
    if lifetime.no_cache {
        return (!may_validate).then_some(Reason::NoCache);
    }
    let cacheable = lifetime.source.is_explicit()
        || directives.public
        || is_heuristically_cacheable(status)
        || !matches!(policy.statuses, Statuses::Final);
    let usable = !lifetime.usable_for().is_zero() || may_validate;
    (!cacheable || !usable).then_some(Reason::NotFresh)
}

/// Whether this crate knows what the status asks of a cache: those of RFC 9110 that ask nothing special.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=415 | 417 | 421 | 422 | 426 | 500..=505
    )
}
