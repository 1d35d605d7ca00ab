//! The rules of HTTP caching as pure functions over [`http`] types and a given time.
//!
//! An HTTP cache, proxy or client asks the same dozen questions about each request. The answers are spread over half a
//! dozen RFCs. This crate answers them and does nothing else: no I/O, no async, no clock, no storage. It accepts what
//! servers and clients really send (repeated fields, broken quotes, unquoted tags). If a field can be read in two ways,
//! it takes the reading that caches less.
//!
//! # Questions and answers
//!
//! | question | answer | source |
//! |---|---|---|
//! | What may this cache store and share? | [`Policy::route`], [`Policy::shared`] | – |
//! | Which host is a request for? | [`target_authority`], [`target_uri`] | RFC 9110, 7.1 |
//! | Which other spellings of its URI are equivalent? | [`normal_path`], [`normal_authority`], [`NoVarySearch`] | RFC 3986, 6.2.2; RFC 9110, 4.2.3 |
//! | Does it have content? | [`Framing`] | RFC 9112, 6.3 |
//! | May a request be looked up? | [`request_bypass`] | RFC 9111, 3 |
//! | May it be collapsed with others? | [`may_collapse`] | RFC 9111, 4 |
//! | Which variant does it select? | [`Vary::from_headers`], [`variant_key`] | RFC 9111, 4.1 |
//! | Which directives does it have? | [`RequestDirectives::from_headers`] | RFC 9111, 5.2.1 |
//! | Is the stored response fresh, stale but usable, or to be validated? | [`Lifetime::reuse`] | RFC 9111, 4.2; RFC 5861 |
//! | Is the answer the whole, 304, the headers or a range? | [`Representation::select`] | RFC 9110, 13 to 15 |
//! | What is its `Age`? | [`Lifetime::age`], [`set_age`] | RFC 9111, 5.1 |
//! | What does a validating request carry? | [`make_conditional`] | RFC 9111, 4.3.1 |
//! | What does the answer to it mean? | [`validation`], [`is_freshened_by`], [`freshen`] | RFC 9111, 4.3.3 and 4.3.4 |
//! | The origin failed. May the stale response be used? | [`Lifetime::usable_on_error`] | RFC 5861, 4 |
//! | The origin is unreachable. May it be used? | [`Lifetime::usable_when_disconnected`] | RFC 9111, 4.2.4 |
//! | Does the answer to HEAD confirm the stored GET? | [`head_confirms`] | RFC 9111, 4.3.5 |
//! | How long is a new response fresh? | [`Lifetime::from_response`] | RFC 9111, 4.2; RFC 9213 |
//! | May it be stored and shared? | [`storable`] | RFC 9111, 3 |
//! | May the response to a POST answer a later GET? | [`answers_later_get`] | RFC 9110, 9.3.3 |
//! | Which of its headers are stored? | [`prepare_for_store`] | RFC 9111, 3.1 |
//! | What does an unsafe request invalidate? | [`is_safe`], [`invalidated_targets`], [`invalidated_groups`] | RFC 9111, 4.4; RFC 9875 |
//! | What did the cache do? | [`CacheStatus`] | RFC 9211 |
//! | What does the cache tell clients? | [`ResponseDirectives`], [`count_down`] | RFC 9111, 5.2.2 |
//!
//! # An exchange, from miss to 304
//!
//! ```
//! use std::time::Duration;
//!
//! use cache_core::Timestamp;
//! use cache_http::{
//!     CacheName, CacheStatus, Forward, Lifetime, Policy, Representation, RequestDirectives, Reuse, Validators,
//!     prepare_for_store, request_bypass, set_age, storable,
//! };
//! use http::header::{AGE, CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
//! use http::{HeaderMap, Method, StatusCode};
//!
//! let policy = Policy::route();
//! let cache = CacheName::new("example");
//! let now = Timestamp::from_millis(1_700_000_000_000);
//!
//! // The request may be looked up, but nothing is stored: the handler answers.
//! let request = HeaderMap::new();
//! assert_eq!(request_bypass(&policy, &Method::GET, &request), None);
//! let mut response = HeaderMap::new();
//! response.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
//! response.insert(ETAG, HeaderValue::from_static("\"v1\""));
//!
//! // May the answer be stored? A cache keeps the lifetime and the validators beside the body.
//! let lifetime = Lifetime::from_response(&policy, StatusCode::OK, &response, now, now);
//! assert!(storable(&policy, &Method::GET, &request, StatusCode::OK, &response, &lifetime).is_yes());
//! let status = CacheStatus::forwarded(Forward::UriMiss).stored(true);
//! assert_eq!(status.to_value(&cache), "example; fwd=uri-miss; stored");
//! prepare_for_store(&policy, &mut response, now);
//! let validators = Validators::from_headers(&response);
//!
//! // Half a minute later a client validates its own copy.
//! let now = now + Duration::from_secs(30);
//! let mut request = HeaderMap::new();
//! request.insert(IF_NONE_MATCH, HeaderValue::from_static("\"v1\""));
//! assert_eq!(lifetime.reuse(&RequestDirectives::from_headers(&request), now), Reuse::Fresh);
//! let stored = Representation::new(StatusCode::OK, &response, &validators).with_arrival(lifetime.response_time);
//! let mut answer = stored.select(&Method::GET, &request);
//! assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
//! set_age(&mut answer.headers, lifetime.age(now));
//! assert_eq!((&answer.headers[ETAG], &answer.headers[AGE]), (&HeaderValue::from_static("\"v1\""), &HeaderValue::from(30)));
//! assert_eq!(CacheStatus::hit().ttl(lifetime.ttl_seconds(now)).to_value(&cache), "example; hit; ttl=30");
//! ```
//!
//! # Glossary
//!
//! - **Origin**: the server or handler that generates a response.
//! - **Stored response**: status, headers and content that a cache keeps.
//! - **Lifetime**: how long a response is *fresh*, counted from when the origin generated or validated it. Then it is *stale*.
//! - **Age**: the time since the origin generated or validated a response.
//! - **Window**: how long a response may be used after its lifetime, while it is revalidated or if the origin fails.
//! - **Validator**: `ETag` or `Last-Modified`, which identifies a representation. To *validate* is to ask the origin whether
//!   a stored response still holds. To *freshen* is to update its headers from the answer.
//! - **Variant**: one of several stored responses of a URL, selected by the request fields that `Vary` names.
//! - **Representation**: what a response holds: the whole content or ranges of it.
//! - **Storable**: permitted to be stored and shared. A **reason** says why a response is not.
//! - **Bypass**: to handle a request without looking it up. **Collapse**: to answer several requests by one response of the
//!   origin.
//! - **Target**: the URI that a request is for. **Targeted field**: a field for one class of caches (RFC 9213).
//! - **Group**: responses of one origin that are invalidated together (RFC 9875).
//!
//! # Where the standards leave a choice
//!
//! - Freshness information that cannot be read makes a response stale (RFC 9111, 4.2.1 encourages it). An unreadable `Age` is
//!   ignored (RFC 9111, 5.1).
//! - A response that could never be used again, neither fresh nor stale nor after validation, is not stored.
//! - `Pragma` (deprecated by RFC 9111, 5.4) and `Warning` are ignored.
//! - `If-Match` and `If-Unmodified-Since` are for the origin (RFC 9111, 4.3.2).

mod cache_control;
mod cache_status;
mod digest;
mod field;
mod framing;
mod freshness;
mod invalidation;
mod policy;
mod representation;
mod storability;
mod uri;
mod validation;
mod variant;

pub use self::cache_control::{
    Applicable, CDN_CACHE_CONTROL, Directive, Qualified, RequestDirectives, ResponseDirectives, applicable_directives,
    count_down, parse_targeted,
};
pub use self::cache_status::{CACHE_STATUS, CacheName, CacheStatus, Forward, StatusParameters};
pub use self::digest::content_digest;
pub use self::field::{
    ETag, EntityTags, InvalidETag, MAX_SECONDS, age_header, connection_names_end_to_end, format_date, parse_date,
    remove_hop_by_hop, set_age,
};
pub use self::framing::Framing;
pub use self::freshness::{Lifetime, LifetimeSource, Reuse};
pub use self::invalidation::{
    CACHE_GROUP_INVALIDATION, CACHE_GROUPS, cache_groups, invalidated_groups, invalidated_targets, invalidated_uris,
    is_safe,
};
pub use self::policy::{Heuristic, Policy, Sharing, Statuses, is_heuristically_cacheable};
pub use self::representation::{
    ByteRange, Content, ContentRange, Multipart, Outcome, Part, RangeOutcome, Representation, Selection, Validators,
    asks_for_whole, evaluate, evaluate_range, not_modified_headers, partial_headers, serves_ranges,
    unsatisfiable_headers,
};
pub use self::storability::{
    Reason, Storable, answers_later_get, may_collapse, prepare_for_store, request_bypass, storable,
};
pub use self::uri::{HostConflict, is_content_of_target, normal_authority, normal_path, target_authority, target_uri};
pub use self::validation::{Validation, freshen, head_confirms, is_freshened_by, make_conditional, validation};
pub use self::variant::{NO_VARY_SEARCH, NoVarySearch, Normalization, Preference, Vary, variant_key};

/// The code of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
