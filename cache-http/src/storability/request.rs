//! What can be said of a request before its response is there.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Method};

use crate::cache_control::RequestDirectives;
use crate::policy::{Policy, Sharing};
use crate::storability::reason::Reason;

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

fn says_no_store(policy: &Policy, request: &HeaderMap) -> bool {
    policy.request_directives && !policy.allow_no_store && RequestDirectives::from_headers(request).no_store
}
