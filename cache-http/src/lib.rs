//! The rules of HTTP caching as pure functions over [`http`] types and a given time.
//!
//! Whoever writes an HTTP cache asks the same dozen questions at each request. The answers are in half a dozen RFCs,
//! full of exceptions, and easy to get almost right. This crate answers them and does nothing else: no I/O, no async,
//! no clock, no storage. It forgives what the web really sends (repeated fields, broken quotes, unquoted tags), and
//! where a field can be read in two ways it takes the one that caches less.
//!
//! # Which question is answered where
//!
//! | question | answer | source |
//! |---|---|---|
//! | What may this cache do at all? | [`Policy::route`], [`Policy::shared`] | – |
//! | May this request look into the cache? | [`request_bypass`] | RFC 9111, 3 |
//! | May it wait for the response to another? | [`may_collapse`] | RFC 9111, 4 |
//! | Which variant does it select? | [`Vary::from_headers`], [`variant_key`] | RFC 9111, 4.1 |
//! | What does it ask of the cache? | [`RequestDirectives::from_headers`] | RFC 9111, 5.2.1 |
//! | Fresh, stale but usable, or to be validated? | [`Lifetime::reuse`] | RFC 9111, 4.2; RFC 5861 |
//! | Is 304 the answer? | [`evaluate`], [`not_modified_headers`] | RFC 9110, 13 and 15.4.5 |
//! | Is a part of the body the answer? | [`evaluate_range`], [`partial_headers`], [`Multipart`] | RFC 9110, 14 |
//! | What is its `Age`? | [`Lifetime::age`], [`set_age`] | RFC 9111, 5.1 |
//! | What does the validating request carry? | [`make_conditional`] | RFC 9111, 4.3.1 |
//! | What did the origin say to it? | [`validation`], [`is_freshened_by`], [`freshen`] | RFC 9111, 4.3.3 and 4.3.4 |
//! | The origin failed; may the stale copy be used? | [`Lifetime::usable_on_error`] | RFC 5861, 4 |
//! | It cannot be reached at all; may it be used? | [`Lifetime::usable_when_disconnected`] | RFC 9111, 4.2.4 |
//! | HEAD was answered; is the stored GET still right? | [`head_confirms`] | RFC 9111, 4.3.5 |
//! | How long is a new response fresh? | [`Lifetime::from_response`] | RFC 9111, 4.2; RFC 9213 |
//! | May it be stored and shared? | [`storable`] | RFC 9111, 3 |
//! | Which of its headers are stored? | [`prepare_for_store`] | RFC 9111, 3.1 |
//! | What does a write make invalid? | [`invalidated_uris`], [`invalidated_groups`] | RFC 9111, 4.4; RFC 9875 |
//! | What is said of all this? | [`CacheStatus`] | RFC 9211 |
//! | What are clients told? | [`ResponseDirectives`], [`count_down`] | RFC 9111, 5.2.2 |
//!
//! # An exchange, from miss to 304
//!
//! ```
//! use std::time::Duration;
//!
//! use cache_core::Timestamp;
//! use cache_http::{
//!     CacheName, CacheStatus, Forward, Lifetime, Outcome, Policy, RequestDirectives, Reuse, Validators, evaluate,
//!     not_modified_headers, prepare_for_store, request_bypass, set_age, storable,
//! };
//! use http::header::{AGE, CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
//! use http::{HeaderMap, Method, StatusCode};
//!
//! let policy = Policy::route();
//! let cache = CacheName::new("example");
//! let now = Timestamp::from_millis(1_700_000_000_000);
//!
//! // A request that the cache may serve, and nothing is stored: the handler answers.
//! let request = HeaderMap::new();
//! assert_eq!(request_bypass(&policy, &Method::GET, &request), None);
//! let mut response = HeaderMap::new();
//! response.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
//! response.insert(ETAG, HeaderValue::from_static("\"v1\""));
//!
//! // May the answer be stored? This is what a cache keeps beside the body.
//! let lifetime = Lifetime::from_response(&policy, StatusCode::OK, &response, now, now);
//! assert!(storable(&policy, &Method::GET, &request, StatusCode::OK, &response, &lifetime).is_yes());
//! let status = CacheStatus::forwarded(Forward::UriMiss).stored(true);
//! assert_eq!(status.to_value(&cache), "example; fwd=uri-miss; stored");
//! prepare_for_store(&policy, &mut response, now);
//! let validators = Validators::from_headers(&response);
//!
//! // Half a minute later a client asks whether its copy is still good.
//! let now = now + Duration::from_secs(30);
//! let mut request = HeaderMap::new();
//! request.insert(IF_NONE_MATCH, HeaderValue::from_static("\"v1\""));
//! assert_eq!(lifetime.reuse(&RequestDirectives::from_headers(&request), now), Reuse::Fresh);
//! let outcome = evaluate(&Method::GET, &request, StatusCode::OK, &validators, lifetime.response_time);
//! assert_eq!(outcome, Outcome::NotModified);
//! let mut answer = not_modified_headers(&response);
//! set_age(&mut answer, lifetime.age(now));
//! assert_eq!((&answer[ETAG], &answer[AGE]), (&HeaderValue::from_static("\"v1\""), &HeaderValue::from(30)));
//! assert_eq!(CacheStatus::hit().ttl(lifetime.ttl_seconds(now)).to_value(&cache), "example; hit; ttl=30");
//! ```
//!
//! # Where it decides what the standards leave open
//!
//! - Freshness information that cannot be read makes a response stale, `Age` included (RFC 9111, 4.2.1 encourages it).
//! - A response that could never be used again, neither fresh nor stale nor after validation, is not stored.
//! - `Pragma` is not looked at (RFC 9111, 5.4 deprecates it), and neither is `Warning`.
//! - `If-Match` and `If-Unmodified-Since` are left to the origin (RFC 9111, 4.3.2).

mod cache_control;
mod cache_status;
mod digest;
mod field;
mod freshness;
mod invalidation;
mod policy;
mod representation;
mod storability;
mod target;
mod validation;
mod variant;

pub use self::cache_control::{
    Applicable, CDN_CACHE_CONTROL, Directive, Qualified, RequestDirectives, ResponseDirectives, applicable_directives,
    count_down, parse_targeted,
};
pub use self::cache_status::{CACHE_STATUS, CacheName, CacheStatus, Forward};
pub use self::digest::content_digest;
pub use self::field::{
    ETag, EntityTags, InvalidETag, MAX_SECONDS, age_header, connection_names_end_to_end, format_date, parse_date,
    remove_hop_by_hop, set_age,
};
pub use self::freshness::{Lifetime, LifetimeSource, Reuse};
pub use self::invalidation::{
    CACHE_GROUP_INVALIDATION, CACHE_GROUPS, cache_groups, invalidated_groups, invalidated_uris, is_content_of_target,
    is_safe,
};
pub use self::policy::{Heuristic, Policy, Sharing, Statuses, is_heuristically_cacheable};
pub use self::representation::{
    ByteRange, Content, ContentRange, Multipart, Outcome, Part, RangeOutcome, Representation, Selection, Validators,
    asks_for_whole, evaluate, evaluate_range, not_modified_headers, partial_headers, unsatisfiable_headers,
};
pub use self::storability::{Reason, Storable, may_collapse, prepare_for_store, request_bypass, storable};
pub use self::target::{HostConflict, target_authority, target_uri};
pub use self::validation::{Validation, freshen, head_confirms, is_freshened_by, make_conditional, validation};
pub use self::variant::{Normalization, Preference, Vary, variant_key};

/// The code of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
