//! Stored headers updated by a 304 (RFC 9111, section 3.2).

use cache_core::Timestamp;
use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, SET_COOKIE};
use http::{HeaderMap, HeaderName};

use crate::cache_control::ResponseDirectives;
use crate::field::{CONTENT_DIGEST, CONTENT_MD5, format_date, remove_hop_by_hop};
use crate::policy::Policy;
use crate::storability::refuses_set_cookie;

/// Updates stored headers from a 304 or from the answer to HEAD (RFC 9111, sections 3.2, 4.3.4 and 4.3.5). Each field of
/// `new` replaces all stored lines of its name. Removes a stored `Age`, since the origin has just confirmed the response.
///
/// Fields that say how to read the stored bytes stay: `Content-Encoding`, `Content-Length`, `Content-Range`, digests of the
/// content, and `ETag`. Fields that are not stored of a full response are not stored here: those of one connection, those
/// that a qualified directive withholds before or after the update (sections 5.2.2.4 and 5.2.2.7), and a new `Set-Cookie` if
/// the policy does not share it.
///
/// Returns the fields of `new` that are only for the client whose request was validated. Add them to the answer to that
/// client.
///
/// The answer may also forbid sharing the response. So compute the [`Lifetime`](crate::Lifetime) again from the result, with
/// the times of the validation, and call [`storable`](crate::storable) again before you use the response for other clients.
///
/// ```
/// use cache_core::Timestamp;
/// use cache_http::{Policy, freshen};
/// use http::HeaderMap;
/// use http::header::{CACHE_CONTROL, HeaderValue};
///
/// let mut stored = HeaderMap::new();
/// stored.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60, private=\"x-user\""));
/// let mut not_modified = HeaderMap::new();
/// not_modified.insert("x-user", HeaderValue::from_static("ann"));
///
/// let now = Timestamp::from_millis(1_700_000_000_000);
/// let for_ann = freshen(&Policy::route(), &mut stored, &not_modified, now);
/// assert_eq!(for_ann["x-user"], "ann");
/// assert!(!stored.contains_key("x-user"));
/// ```
#[must_use = "add the returned fields to the answer to the client whose request was validated"]
pub fn freshen(policy: &Policy, stored: &mut HeaderMap, new: &HeaderMap, response_time: Timestamp) -> HeaderMap {
    let before = policy.directives(stored);
    let said = policy.directives(new);
    let mut new = new.clone();
    remove_hop_by_hop(&mut new);
    let keeps_cookies = refuses_set_cookie(policy, &said);
    stored.remove(AGE);
    stored.remove(DATE);
    for name in new.keys().filter(|name| is_updated(name)) {
        if !(keeps_cookies && *name == SET_COOKIE) {
            replace(stored, name, &new);
        }
    }
    let after = policy.directives(stored);

    let mut withheld = HeaderMap::new();
    if keeps_cookies {
        replace(&mut withheld, &SET_COOKIE, &new);
    }
    for name in [&before, &said, &after]
        .into_iter()
        .flat_map(ResponseDirectives::withheld_fields)
    {
        stored.remove(name);
        if is_updated(name) {
            replace(&mut withheld, name, &new);
        }
    }
    if !stored.contains_key(DATE) {
        stored.insert(DATE, format_date(response_time));
    }
    withheld
}

/// Replaces the lines of `name` in `headers` with those of `new`.
fn replace(headers: &mut HeaderMap, name: &HeaderName, new: &HeaderMap) {
    headers.remove(name);
    for value in new.get_all(name) {
        headers.append(name.clone(), value.clone());
    }
}

fn is_updated(name: &HeaderName) -> bool {
    let kept = [
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_MD5,
        CONTENT_DIGEST,
        ETAG,
    ];
    !kept.contains(name)
}
