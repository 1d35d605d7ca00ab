//! Conditional requests: those of clients, which the cache answers, and those of the cache, which the origin answers
//! (RFC 9110, section 13; RFC 9111, section 4.3).

use cache_core::{ETag, EntityTags, Timestamp};
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::cache_control::ResponseDirectives;
use crate::date::{Single, date_of, format_date, parse_date};
use crate::headers::remove_hop_by_hop;
use crate::policy::Policy;
use crate::store::refuses_set_cookie;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What tells one representation from another. Worked out once, when the response is stored.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<ETag>,
    /// `Last-Modified`.
    pub last_modified: Option<Timestamp>,
    /// `Date`.
    pub date: Option<Timestamp>,
}

impl Validators {
    /// The validators of a response with these headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            etag: headers.get(ETAG).and_then(ETag::parse),
            last_modified: date_of(headers, LAST_MODIFIED).valid(),
            date: date_of(headers, DATE).valid(),
        }
    }

    /// Whether there is an entity-tag or a modification date.
    #[must_use]
    pub fn any(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// Whether `Last-Modified` is a strong validator: the origin's `Date` is at least a second later (RFC 9110, section
    /// 8.8.2.2).
    #[must_use]
    pub fn last_modified_is_strong(&self) -> bool {
        match (self.last_modified, self.date) {
            (Some(modified), Some(date)) => date.as_millis() >= modified.as_millis().saturating_add(1000),
            _ => false,
        }
    }
}

/// How a stored response answers a request that is conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// With 304 (Not Modified); see [`not_modified_headers`].
    NotModified,
    /// With the whole response.
    Full,
}

/// Evaluates `If-None-Match` and `If-Modified-Since` of a request against a stored response with these validators
/// (RFC 9110, section 13.2.2; RFC 9111, section 4.3.2). `stored_at` is when the response arrived; it stands in for
/// `Last-Modified` and `Date` where both are missing.
///
/// `If-None-Match` wins: where it is there, `If-Modified-Since` is not looked at. Preconditions only count for GET and
/// HEAD and for a stored success. `If-Match` and `If-Unmodified-Since` are none of a cache's business.
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &Validators,
    stored_at: Timestamp,
) -> Outcome {
    if !status.is_success() || !(method == Method::GET || method == Method::HEAD) {
        return Outcome::Full;
    }
    let not_modified = if request.contains_key(IF_NONE_MATCH) {
        EntityTags::parse(request.get_all(IF_NONE_MATCH)).matches_weak(stored.etag.as_ref())
    } else {
        match date_of(request, IF_MODIFIED_SINCE) {
            Single::Is(since) => {
                let changed = stored.last_modified.or(stored.date).unwrap_or(stored_at);
                changed.as_millis() / 1000 <= since.as_millis() / 1000
            }
            Single::Absent | Single::Invalid => false,
        }
    };
    if not_modified {
        Outcome::NotModified
    } else {
        Outcome::Full
    }
}

/// The headers of a 304 that stands for a response with these headers (RFC 9110, section 15.4.5): all but those that
/// describe the content it does not carry. `Last-Modified` goes too if there is an `ETag`.
#[must_use]
pub fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in [
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        CONTENT_MD5,
        CONTENT_DIGEST,
        REPR_DIGEST,
    ] {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
    headers
}

/// Makes a request to the origin one that validates these stored responses, variants of one resource (RFC 9111,
/// section 4.3.1): `If-None-Match` with all their entity-tags, as they were received, and `If-Modified-Since` if there
/// is one response and it has `Last-Modified`.
///
/// Returns `false`, with the request unchanged, if none of them has a validator. Otherwise the client's own
/// preconditions and `Range` are removed: they are for the cache to evaluate once it has an answer.
pub fn make_conditional<'a>(request: &mut HeaderMap, stored: impl IntoIterator<Item = &'a HeaderMap>) -> bool {
    let mut tags: Vec<&HeaderValue> = Vec::new();
    let mut dates = Vec::new();
    let mut responses = 0;
    for headers in stored {
        responses += 1;
        // A tag that nobody could compare is of no use; the others go out byte for byte.
        if let Some(tag) = headers.get(ETAG).filter(|tag| ETag::parse(tag).is_some())
            && !tags.contains(&tag)
        {
            tags.push(tag);
        }
        dates.extend(
            headers
                .get(LAST_MODIFIED)
                .filter(|date| parse_date(date.as_bytes()).is_some()),
        );
    }
    if responses > 1 {
        dates.clear();
    }
    if tags.is_empty() && dates.is_empty() {
        return false;
    }
    for name in [
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
        IF_RANGE,
        RANGE,
    ] {
        request.remove(name);
    }
    let list: Vec<&[u8]> = tags.iter().map(|tag| tag.as_bytes()).collect();
    if let Ok(list) = HeaderValue::from_bytes(&list.join(&b", "[..]))
        && !list.is_empty()
    {
        request.insert(IF_NONE_MATCH, list);
    }
    if let Some(date) = dates.first() {
        request.insert(IF_MODIFIED_SINCE, (*date).clone());
    }
    true
}

/// Whether a 304 with these headers is about the stored response with these validators (RFC 9111, section 4.3.4).
/// `only_one` says whether that response is the only one that the request could have selected.
///
/// A strong validator must be the same, a weak one must match, and a 304 without any validator is about the only
/// response there is: it answers the validators that this very cache sent.
#[must_use]
pub fn is_freshened_by(stored: &Validators, not_modified: &HeaderMap, only_one: bool) -> bool {
    let new = Validators::of(not_modified);
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

/// Whether the answer to HEAD shows that a stored response is still the one (RFC 9111, section 4.3.5): the validators
/// and the length that it gives are those of the stored one. If so, [`freshen`] it; if not, it counts as stale.
#[must_use]
pub fn head_confirms(stored: &HeaderMap, head: &HeaderMap) -> bool {
    [ETAG, LAST_MODIFIED, CONTENT_LENGTH]
        .iter()
        .all(|name| head.get(name).is_none_or(|value| stored.get(name) == Some(value)))
}

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
