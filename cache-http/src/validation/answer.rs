//! The origin's answer to a validation (RFC 9111, sections 4.3.3 to 4.3.5).

use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use crate::representation::Validators;

/// The meaning of the origin's answer to a validation. RFC 9111, section 4.3.3, lists these three, so this enum is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Validation {
    /// [Freshen](crate::freshen) the stored response and use it, if the 304 [concerns it](is_freshened_by).
    NotModified,
    /// Replace the stored response with the answer.
    Replaced,
    /// Keep the stored response. Use it if [`Lifetime::usable_on_error`](crate::Lifetime::usable_on_error) allows that, or
    /// else pass on the answer.
    Failed,
}

/// Returns what the status of an answer to a validation means. 500, 502, 503 and 504 are failures (RFC 5861, section 4).
pub fn validation(status: StatusCode) -> Validation {
    match status.as_u16() {
        304 => Validation::NotModified,
        500 | 502..=504 => Validation::Failed,
        _ => Validation::Replaced,
    }
}

/// Returns whether a 304 with these headers concerns the stored response with these validators (RFC 9111, section 4.3.4).
/// `only_one` says whether the request could have selected only that response.
///
/// A strong validator must be equal and a weak one must match. A 304 without a validator concerns the only response, since
/// it answers the validators that the cache sent.
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

/// Returns whether the answer to HEAD confirms a stored response to GET (RFC 9111, section 4.3.5): the validators and the
/// length that it states equal the stored ones. If so, [`freshen`](crate::freshen) the stored response. If not, treat it as
/// stale.
#[must_use]
pub fn head_confirms(stored: &HeaderMap, head: &HeaderMap) -> bool {
    [ETAG, LAST_MODIFIED, CONTENT_LENGTH]
        .iter()
        .all(|name| head.get(name).is_none_or(|value| stored.get(name) == Some(value)))
}
