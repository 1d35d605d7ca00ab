//! HTTP response caching for axum and tower: safe by default, standard by choice.
//!
//! [`CacheLayer`] stores whole responses, so a hit has the same status, headers and bytes as the miss. It adds what the
//! standard defines for caches: an `ETag` and 304 responses, `Age`, HEAD and ranges from the stored body, `Vary`, and
//! `Cache-Status` on every response.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::extract::Path;
//! use axum::routing::get;
//! use axum::{Json, Router};
//! use cache_axum::cache_engine::Cache;
//! use cache_axum::{CacheHandle, CacheLayer, Error, StoreFor};
//! use cache_memory::MemoryBackend;
//! # use axum::response::IntoResponse;
//!
//! async fn item(Path(id): Path<u64>) -> String {
//!     format!("item {id}")
//! }
//!
//! /// Stored for ten seconds, whatever the route says, and in a namespace that can be cleared.
//! async fn items() -> impl IntoResponse {
//!     (StoreFor::new(Duration::from_secs(10)).namespace("lists"), Json(["item 1", "item 2"]))
//! }
//!
//! /// Invalidates its own URL by being a PUT that succeeds, and the lists by hand.
//! async fn rename(cache: CacheHandle) -> Result<(), Error> {
//!     cache.clear("lists").await?;
//!     Ok(())
//! }
//!
//! let cache = Cache::builder(MemoryBackend::default()).prefix("shop").build();
//! let app: Router = Router::new()
//!     .route("/items", get(items))
//!     .route("/items/{id}", get(item).put(rename))
//!     .layer(CacheLayer::new(cache).ttl(Duration::from_secs(60)));
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! use tower::ServiceExt;
//!
//! let ask = |method: &str| http::Request::builder().method(method).uri("/items/7").body(axum::body::Body::empty());
//! for (method, status) in [("GET", "MISS"), ("GET", "HIT"), ("PUT", "BYPASS"), ("GET", "MISS")] {
//!     let response = app.clone().oneshot(ask(method).unwrap()).await.unwrap();
//!     assert_eq!(response.headers()["x-cache"], status);
//! }
//! # });
//! ```
//!
//! # What is stored
//!
//! | never, unless allowed | allowed by |
//! |---|---|
//! | responses to requests with `Authorization`, cookies or other [`credentials`]; such requests are not looked up either | [`allow_authorization`], [`allow_cookies`], [`per_user`] |
//! | responses with `Set-Cookie` | [`allow_set_cookie`] |
//! | responses that say `private` | [`per_user`], for that user; or [`policy_with`] |
//! | responses that say `no-store`, `no-cache`, `max-age=0` or `Vary: *` | [`policy_with`]; [`StoreFor`] for `max-age=0` |
//! | any status but 2xx | [`statuses`] |
//! | any method but GET; HEAD is answered from GET | [`post`], [`query_method`] |
//! | bodies that break, are larger than [`max_body`], take longer than [`max_body_time`], have trailers, or are event streams | the two limits |
//!
//! Each setting allows one thing and nothing else. [`CacheLayer::shared`] is the other policy: a shared cache that
//! follows the standard, for gateways and reverse proxies, where the response alone decides.
//!
//! The handler's `Cache-Control` and `Vary` take precedence over the route's setting. [`StoreFor`] and [`DoNotStore`]
//! take precedence over both.
//!
//! # Who gets whose response
//!
//! Requests with the same key get the same response. By default the key contains the method, host, path and sorted
//! query; [`query`] and [`key_builder`] change that. If something between two routers rewrites the URI, the key also
//! contains the URI that the handler sees.
//!
//! Everything else that a response depends on must be in its `Vary`, in [`key_headers`], or in the identity that you
//! set with [`per_user`]. Beware of handlers that read other fields, such as `X-Forwarded-Host`: any client can set
//! those.
//!
//! The same applies downstream. If the layer sends browsers and shared caches a lifetime, it names the fields by which
//! it distinguishes requests in `Vary`, and responses of users are `private, no-cache`.
//!
//! A URL has at most [`max_variants`] stored responses, because clients can invent values of a field; the least
//! recently used one makes room. [`normalization`] joins requests with the same meaning. With [`query`] you exclude
//! parameters from the key that no handler reads.
//!
//! # When a stale response is used
//!
//! | a stale response | when | source |
//! |---|---|---|
//! | answers at once, while a new one is loaded | within [`stale_while_revalidate`] | RFC 5861, 3 |
//! | answers if the handler fails, or if other requests have waited for it for [`max_wait`] | within [`stale_if_error`] | RFC 5861, 4 |
//! | answers if the origin is [unreachable](OriginUnreachable) | for a day, in the shared-cache policy | RFC 9111, 4.2.4 |
//! | answers a request that accepts one | `Cache-Control: max-stale` of the request | RFC 9111, 5.2.1.2 |
//! | is revalidated: the handler gets a conditional request, and 304 makes the response fresh again | it has a validator from the handler, and is retained for this ([`Policy::keep_for_validation`](cache_http::Policy::keep_for_validation)) or for one of the reasons above | RFC 9111, 4.3 |
//!
//! `must-revalidate`, `proxy-revalidate`, `s-maxage` and `no-cache` leave only the last.
//!
//! # What the response says
//!
//! `X-Cache` says in one word how a request was handled, and `Cache-Status` (RFC 9211) says it in full:
//!
//! | `X-Cache` | `Cache-Status` | what happened |
//! |---|---|---|
//! | `HIT` | `cache; hit; ttl=37` | served from a response that is fresh for 37 more seconds |
//! | `HIT` | `cache; fwd=uri-miss; collapsed` | served by a load that another request had started |
//! | `HIT` | `cache; fwd=stale; fwd-status=304; stored` | the handler confirmed the stale response |
//! | `STALE` | `cache; hit; ttl=-5` | served from a response that is stale for 5 seconds, and refreshed in the background, except if the request itself accepted a stale one |
//! | `STALE` | `cache; fwd=stale; fwd-status=503` | the handler failed, and a stale response replaces its response |
//! | `MISS` | `cache; fwd=uri-miss; stored` | the handler responded, and its response is stored |
//! | `MISS` | `cache; fwd=uri-miss; detail=set-cookie` | the handler responded, and the detail says why its response is not stored |
//! | `MISS` | `cache; fwd=miss; detail=outage` | the store did not answer, so whether it has a response is unknown; the handler responded |
//! | `BYPASS` | `cache; fwd=bypass; detail=authorization` | the request bypassed the cache, and the detail says why |
//! | `BYPASS` | `cache; fwd=method` | so does every request with another method |
//!
//! While a body is still streaming, `stored` means that the response will be stored if the body arrives completely and in
//! time, and is not larger than [`max_body`].
//!
//! # How the handler runs
//!
//! On a miss the handler runs in a task of its own, so that a client that disconnects does not abort the load for
//! others. At most [`max_detached`] such tasks continue without a client. The layer removes the client's preconditions
//! and ranges from the request: the handler produces the whole response, and the layer evaluates them, whether the
//! response is stored or not. From a body that is still streaming, the layer cuts a single range; a request for several
//! ranges gets the whole, as RFC 9110, section 14.2, allows. If the length is unknown, a range waits until the body is
//! complete, for at most [`max_wait`]. If the whole is larger than [`max_body`], or takes longer than that, the handler
//! gets the range, and its size is remembered for as long as the response would be stored. A panic continues in the
//! caller's task.
//!
//! Concurrent requests for the same key wait for one load (single-flight), for at most [`max_wait`]. They wait only for
//! the head of its response: if the response may be stored, they **read along** with its body, from its beginning and
//! as fast as it arrives. If the body breaks off, it breaks off for all of them. If it outgrows [`max_body`] or
//! [`max_body_time`], it continues for its readers, and later requests call the handler. From then on the fastest
//! reader sets the pace. A reader that is [`max_body`] behind delays the others for [`max_wait`] in total, and then
//! gets an error. If several processes share the cache, requests in other processes wait until the response is stored.
//!
//! If the response may not be shared, each of the waiting requests calls the handler itself, and for the next ten
//! seconds requests for that URL with the same fields do not wait for each other. If the handler failed, its response
//! is shared with the waiting requests if that is allowed; otherwise one of them at a time tries again. If the response
//! decides whether it may be shared with requests that have credentials (`Authorization` in the shared-cache policy), a
//! request with credentials waits for no other request, and no other request in this process waits for it.
//!
//! HEAD is answered from what GET has stored, including stale responses, and waits for no load. If the handler has to
//! answer, its response updates the stored response (RFC 9111, section 4.3.5): equal validators make it fresh again,
//! and different validators, or a different length, make it stale.
//!
//! The response to a POST that bypasses the layer is stored for later GETs if RFC 9110, section 9.3.3, allows it: its
//! status is 200, it states a lifetime, and its `Content-Location` is its own URL. It is not stored if the response to
//! a GET would not be stored, or if the URL is invalidated or its GET is stored while the handler runs. GETs do not wait
//! for the handler; once it has responded, they read the body as it arrives.
//!
//! If a layer is inside another one that is loading under the same key, of the same or an equally named cache, it lets
//! the request through, and the settings of the outer layer apply.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | entry | what the store holds under a key: a response, or a variant index |
//! | variant | one of the responses of a URL that `Vary` distinguishes |
//! | variant index | the entry that leads from a URL to its variants (RFC 9111, 4.1) |
//! | fresh, stale | within its lifetime, and after it |
//! | load | a call of the handler whose response may be stored and shared |
//! | coalesced | waits for the load of another request; `collapsed` in `Cache-Status` |
//! | read along | to read the body of another request's load while it is being collected |
//! | uncoalesced | calls the handler for one request only; the response is not stored |
//! | forward | to hand a request to the handler (RFC 9211) |
//! | bypass | to forward a request without looking it up |
//! | hit-for-miss | remembering URLs whose last response was for one request only |
//! | revalidate | to ask the handler whether a stale response is still valid |
//! | refresh | to load again in the background, while a stale response is served |
//! | storability | whether a response may be stored, and for how long |
//! | invalidate | to make entries unusable; softly if they may still be served stale |
//! | tag | a name that entries carry, by which they are invalidated together |
//! | namespace | a part of the keys, which can be cleared |
//!
//! [`allow_authorization`]: CacheLayer::allow_authorization
//! [`allow_cookies`]: CacheLayer::allow_cookies
//! [`allow_set_cookie`]: CacheLayer::allow_set_cookie
//! [`credentials`]: CacheLayer::credentials
//! [`policy_with`]: CacheLayer::policy_with
//! [`query`]: CacheLayer::query
//! [`max_variants`]: CacheLayer::max_variants
//! [`max_wait`]: CacheLayer::max_wait
//! [`max_detached`]: CacheLayer::max_detached
//! [`normalization`]: CacheLayer::normalization
//! [`stale_while_revalidate`]: CacheLayer::stale_while_revalidate
//! [`stale_if_error`]: CacheLayer::stale_if_error
//! [`per_user`]: CacheLayer::per_user
//! [`statuses`]: CacheLayer::statuses
//! [`post`]: CacheLayer::post
//! [`query_method`]: CacheLayer::query_method
//! [`max_body`]: CacheLayer::max_body
//! [`max_body_time`]: CacheLayer::max_body_time
//! [`key_builder`]: CacheLayer::key_builder
//! [`key_headers`]: CacheLayer::key_headers

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod config;
mod entry;
mod error;
mod exchange;
mod key;
mod layer;
mod request;
mod response;

pub use cache_engine;
pub use cache_http;
#[cfg(feature = "macros")]
#[doc(inline)]
pub use cache_macros::{cached_of_axum as cached, invalidates_of_axum as invalidates};

pub use self::config::client_caching::ClientCaching;
pub use self::config::handler::{DoNotStore, OriginUnreachable, StoreFor};
pub use self::config::surrogate_keys::SurrogateKeys;
pub use self::error::Error;
pub use self::key::query::Query;
pub use self::key::url::UrlKey;
#[cfg(feature = "admin")]
pub use self::layer::admin::AdminRouter;
pub use self::layer::cache::CacheLayer;
pub use self::layer::handle::{CacheHandle, NoCacheLayer};
#[cfg(feature = "http-purger")]
pub use self::layer::http_purger::HttpPurger;
#[cfg(feature = "purge")]
pub use self::layer::inspect::InspectRouter;
pub use self::layer::invalidate::{InvalidateLayer, InvalidateService};
#[cfg(feature = "purge")]
pub use self::layer::purge::PurgeRouter;
pub use self::layer::service::{CacheService, ResponseFuture};
pub use self::request::debug::CACHE_DEBUG;

/// The README's code is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
