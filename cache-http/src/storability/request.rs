//! What a request alone decides.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Method};

use crate::cache_control::RequestDirectives;
use crate::policy::{Policy, Sharing};
use crate::storability::reason::Reason;

/// Returns why a request must bypass the cache, or `None` if it may be looked up. Do not answer a request that bypasses
/// the cache from the cache, do not collapse it with others, and do not store its response.
///
/// A request whose response may be shared only explicitly ([`Sharing::Explicit`]) may be looked up, since a stored response
/// was shared explicitly. [`may_collapse`] says whether it may wait for the response to another request.
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

/// Returns whether a request may be collapsed with others of the same key before a response says whether it may be shared.
///
/// A request with credentials may not if the response decides on sharing ([`Sharing::Explicit`]), because most such
/// responses are for one user.
#[must_use]
pub fn may_collapse(policy: &Policy, headers: &HeaderMap) -> bool {
    let undecided = |sharing: Sharing, name| sharing != Sharing::Always && headers.contains_key(name);
    !undecided(policy.authorization, AUTHORIZATION) && !undecided(policy.cookie, COOKIE)
}

fn says_no_store(policy: &Policy, request: &HeaderMap) -> bool {
    policy.request_directives && !policy.allow_no_store && RequestDirectives::from_headers(request).no_store
}
