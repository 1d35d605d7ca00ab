//! Whether a response may be stored and shared (RFC 9111, section 3).

use http::header::{AUTHORIZATION, COOKIE, ETAG, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use crate::cache_control::ResponseDirectives;
use crate::freshness::Lifetime;
use crate::policy::{Policy, Sharing, Statuses, is_heuristically_cacheable};
use crate::storability::reason::Reason;
use crate::storability::request::request_bypass;
use crate::variant::Vary;

/// Whether a response may be stored. There is no third answer, so this enum is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Storable {
    /// The response may be stored.
    Yes,
    /// The response may not be stored.
    No(Reason),
}

impl Storable {
    /// Returns whether the response may be stored.
    #[must_use]
    pub fn is_yes(self) -> bool {
        self == Self::Yes
    }

    /// Returns why the response may not be stored.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Yes => None,
            Self::No(reason) => Some(reason),
        }
    }
}

/// Returns whether a response may be stored and shared. `lifetime` comes from [`Lifetime::from_response`] with the same
/// policy.
///
/// The response to HEAD is never stored, since it has no content. If you answer HEAD by sending GET, pass GET.
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
            let any = !policy.allow_vary_any && Vary::from_headers(response).is_any();
            any.then_some(Reason::VaryAny)
        })
        .or_else(|| freshness_refusal(policy, status, response, &directives, lifetime));
    refusal.map_or(Storable::Yes, Storable::No)
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
    // RFC 9111, section 5.2.2.3: a cache that knows the status ignores `no-store` beside `must-understand`.
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
    // A cookie that a qualified directive withholds is not stored.
    let withheld = directives.withheld_fields().any(|name| *name == SET_COOKIE);
    if response.contains_key(SET_COOKIE) && !withheld && refuses_set_cookie(policy, directives) {
        return Some(Reason::SetCookie);
    }
    None
}

/// Returns whether `Set-Cookie` of a response with these directives must not be shared.
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

/// Checks the last conditions of RFC 9111, section 3, and refuses a response that could never be used.
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

/// Returns whether this crate knows what the status requires of a cache: the statuses of RFC 9110 that require nothing
/// special.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=415 | 417 | 421 | 422 | 426 | 500..=505
    )
}
