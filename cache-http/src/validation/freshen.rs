//! Stored headers updated by a 304 (RFC 9111, section 3.2).

use cache_core::Timestamp;
use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, SET_COOKIE};
use http::{HeaderMap, HeaderName};

use crate::cache_control::ResponseDirectives;
use crate::field::{CONTENT_DIGEST, CONTENT_MD5, format_date, remove_hop_by_hop};
use crate::policy::Policy;
use crate::storability::refuses_set_cookie;

/// Updates stored headers from a 304, or from the answer to HEAD (RFC 9111, sections 3.2, 4.3.4 and 4.3.5): each field
/// of `new` takes the place of all stored lines of its name. The fields that say how the stored bytes are to be read
/// stay as they are: `Content-Encoding`, `Content-Length`, `Content-Range`, digests of the content, and `ETag`. What
/// would not be stored of a full response is not stored here either: the fields of one connection, those that a
/// qualified directive withholds (sections 5.2.2.4 and 5.2.2.7), of the stored response, of `new` or of what they make
/// together, and a new `Set-Cookie` where the policy does not share it. A stored `Age` goes, since the origin has just
/// vouched for the response.
///
/// Returns the fields of `new` that are for the client who asked and for nobody else: add them to the answer to that
/// client.
///
/// The answer may also say that the response is not to be shared any more. So work out the
/// [`Lifetime`](crate::Lifetime) again from the result, with the times of the validation, and ask
/// [`storable`](crate::storable) again before it is used for anyone but the client who asked.
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
#[must_use = "the client who asked misses the fields that are for that client alone"]
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

/// Makes the lines of `name` in `headers` those of `new`.
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
