//! What the origin said to a validation (RFC 9111, sections 4.3.3 to 4.3.5).

use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use crate::representation::Validators;

/// What an answer of the origin to a validation means (RFC 9111, section 4.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Validation {
    /// 304: the stored response is to be [freshened](freshen) and used, if the 304 [is about it](is_freshened_by).
    NotModified,
    /// The answer takes the place of the stored response.
    Replaced,
    /// The origin failed: the stored response may be used if [`Lifetime::usable_on_error`](crate::Lifetime) says so,
    /// otherwise the answer is passed on. The stored response stays.
    Failed,
}

/// What the status of an answer to a validation means. 500, 502, 503 and 504 are failures (RFC 5861, section 4).
pub fn validation(status: StatusCode) -> Validation {
    match status.as_u16() {
        304 => Validation::NotModified,
        500 | 502..=504 => Validation::Failed,
        _ => Validation::Replaced,
    }
}

/// Whether a 304 with these headers is about the stored response with these validators (RFC 9111, section 4.3.4).
/// `only_one` says whether that response is the only one that the request could have selected.
///
/// A strong validator must be the same, a weak one must match, and a 304 without any validator is about the only
/// response there is: it answers the validators that this very cache sent.
#[must_use]
pub fn is_freshened_by(stored: &Validators, not_modified: &HeaderMap, only_one: bool) -> bool {
    let new = Validators::from_headers(not_modified);
    match (&new.etag, new.last_modified) {
        (Some(tag), _) => stored.etag.as_ref().is_some_and(|stored| {
            if tag.is_weak() {
                stored.weak_eq(tag)
            } else {
                stored.strong_eq(tag) || stored.is_weak() && stored.weak_eq(tag)
            }
        }),
        (None, Some(modified)) => stored.last_modified == Some(modified),
        (None, None) => only_one,
    }
}

/// Whether the answer to HEAD shows that a stored response is still the one (RFC 9111, section 4.3.5): the validators
/// and the length that it gives are those of the stored one. If so, [`freshen`] it; if not, it counts as stale.
#[must_use]
pub fn head_confirms(stored: &HeaderMap, head: &HeaderMap) -> bool {
    [ETAG, LAST_MODIFIED, CONTENT_LENGTH]
        .iter()
        .all(|name| head.get(name).is_none_or(|value| stored.get(name) == Some(value)))
}
