//! HTTP response caching for axum and tower: safe by default, standard by choice.
//!
//! [`CacheLayer`] stores whole responses, so a hit is the same status, headers and bytes as the miss. It adds what the
//! standard has for this: an `ETag` and 304 answers, `Age`, HEAD and ranges from the stored body, `Vary`, and
//! `Cache-Status` on every answer.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::extract::Path;
//! use axum::routing::get;
//! use axum::{Json, Router};
//! use cache_axum::cache_engine::Cache;
//! use cache_axum::{CacheHandle, CacheLayer, StoreFor};
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
//! async fn rename(cache: CacheHandle) -> Result<(), String> {
//!     cache.clear("lists").await.map_err(|error| error.to_string())?;
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
//! | answers to requests with `Authorization` or cookies; they do not even look into the cache | [`allow_authorization`], [`allow_cookies`], [`per_user`] |
//! | answers with `Set-Cookie` | [`allow_set_cookie`] |
//! | answers that say `private`, `no-store` or `Vary: *` | [`allow_private`], [`allow_no_store`], [`allow_vary_any`] |
//! | answers that say `no-cache` or `max-age=0` | [`allow_no_cache`]; [`StoreFor`] for the latter |
//! | any status but 2xx | [`statuses`] |
//! | any method but GET; HEAD is answered from GET | [`post`] |
//! | bodies that break, are larger than [`max_body`], take longer than [`max_body_time`], have trailers, or are event streams | the two bounds |
//!
//! Each is allowed by its own name and allows nothing else. [`CacheLayer::shared`] is the other policy: a shared cache by
//! the book, for gateways and reverse proxies, where the response alone decides.
//!
//! What the handler says in `Cache-Control` and `Vary` wins over the route's setting, and [`StoreFor`] and
//! [`DoNotStore`] win over both.
//!
//! # Who is answered by whose answer
//!
//! All whose requests have the same key: method, host, path and sorted query, unless [`query`] or [`key_builder`] says
//! otherwise.
//! What else an answer depends on must be in its `Vary`, in [`key_headers`], or declared by [`per_user`]. Beware of
//! handlers that look at fields which are in none of them, `X-Forwarded-Host` for example: anybody can set those.
//!
//! Anybody can make up values as well. Of the answers that `Vary` tells apart, a URL has no more than [`max_variants`];
//! [`normalization`] joins requests that mean the same. What nobody looks at in a query is left out of the key by
//! [`query`].
//!
//! # What stale copies are good for
//!
//! | a stale copy | when | source |
//! |---|---|---|
//! | answers at once, while a new one is fetched | within [`stale_while_revalidate`] | RFC 5861, 3 |
//! | answers if the handler fails | within [`stale_if_error`] | RFC 5861, 4 |
//! | answers if the origin is [out of reach](OriginUnreachable) | for a day, in the shared-cache policy | RFC 9111, 4.2.4 |
//! | answers a request that takes one | `Cache-Control: max-stale` of the request | RFC 9111, 5.2.1.2 |
//! | is asked about: the handler gets a conditional request, and a 304 makes the copy fresh again | it has a validator of the handler's and is [kept for that](CacheLayer::keep_for_validation), or is there for one of the other reasons | RFC 9111, 4.3 |
//!
//! `must-revalidate`, `proxy-revalidate`, `s-maxage` and `no-cache` leave only the last.
//!
//! # How a request is handled
//!
//! `X-Cache` says it in a word, `Cache-Status` (RFC 9211) in full:
//!
//! | `X-Cache` | `Cache-Status` | what happened |
//! |---|---|---|
//! | `HIT` | `cache; hit; ttl=37` | answered from a copy that is fresh for 37 more seconds |
//! | `HIT` | `cache; fwd=uri-miss; collapsed` | answered by a load that another request had started |
//! | `HIT` | `cache; fwd=stale; fwd-status=304; stored` | the handler was asked, and says that the stale copy is right |
//! | `STALE` | `cache; hit; ttl=-5` | answered from a copy that is stale for 5 seconds, and refreshed in the background, unless it was the request that took a stale one |
//! | `STALE` | `cache; fwd=stale; fwd-status=503` | the handler failed, and a stale copy stands in |
//! | `MISS` | `cache; fwd=uri-miss; stored` | the handler answered, and its answer is stored |
//! | `MISS` | `cache; fwd=uri-miss; detail=set-cookie` | the handler answered, and the detail says why that is not stored |
//! | `MISS` | `cache; fwd=uri-miss; detail=outage` | the store is out of reach |
//! | `BYPASS` | `cache; fwd=bypass; detail=authorization` | the request passed the cache by, and the detail says why |
//! | `BYPASS` | `cache; fwd=method` | so does every request with another method |
//!
//! On a body that is passed on while it is collected, `stored` says that it will be stored if it arrives whole.
//!
//! # What the handler runs in
//!
//! On a miss the handler runs in a task of its own, so that a client who leaves takes the answer from nobody. The client's
//! conditions and ranges are taken off its request: it gives the whole answer, and the layer evaluates them, whether the
//! answer is stored or not. Of a body that is still on its way it cuts one range, if the length is known beforehand;
//! otherwise the client gets the whole, as RFC 9110, section 14.2, allows. A panic goes on in the caller's task.
//!
//! Concurrent requests for the same key wait for that one answer, at most until it turns out that it is not for them; a
//! URL whose answers were refused for good is not waited for at all in the next ten seconds. A request with credentials,
//! where the response decides whether it may be shared (`Authorization` in the shared-cache policy), waits for nobody, and
//! nobody in this process waits for it. One of them at a time may be stored; where its answer was refused, the next ones
//! are not even tried, as long as they come within ten seconds of each other.
//!
//! HEAD is answered from what GET has stored, stale copies included, and refreshes none. It waits for nobody.
//!
//! Where a layer stands within another one that is loading under the same key, of the same or an equally named cache, it
//! lets the request through, and the settings of the outer one count.
//!
//! [`allow_authorization`]: CacheLayer::allow_authorization
//! [`allow_cookies`]: CacheLayer::allow_cookies
//! [`allow_set_cookie`]: CacheLayer::allow_set_cookie
//! [`allow_private`]: CacheLayer::allow_private
//! [`allow_no_store`]: CacheLayer::allow_no_store
//! [`allow_vary_any`]: CacheLayer::allow_vary_any
//! [`allow_no_cache`]: CacheLayer::allow_no_cache
//! [`query`]: CacheLayer::query
//! [`max_variants`]: CacheLayer::max_variants
//! [`normalization`]: CacheLayer::normalization
//! [`stale_while_revalidate`]: CacheLayer::stale_while_revalidate
//! [`stale_if_error`]: CacheLayer::stale_if_error
//! [`per_user`]: CacheLayer::per_user
//! [`statuses`]: CacheLayer::statuses
//! [`post`]: CacheLayer::post
//! [`max_body`]: CacheLayer::max_body
//! [`max_body_time`]: CacheLayer::max_body_time
//! [`key_builder`]: CacheLayer::key_builder
//! [`key_headers`]: CacheLayer::key_headers

mod body;
mod config;
mod entry;
mod exchange;
mod key;
mod layer;
mod request;
mod response;

pub use cache_engine;
#[cfg(feature = "macros")]
#[doc(inline)]
pub use cache_engine::__private::{cached_of_axum as cached, invalidates_of_axum as invalidates};
pub use cache_http;

pub use self::config::client_caching::ClientCaching;
pub use self::config::handler::{DoNotStore, OriginUnreachable, StoreFor};
pub use self::key::query::Query;
pub use self::key::url::UrlKey;
pub use self::layer::cache::CacheLayer;
pub use self::layer::handle::{CacheHandle, NoCacheLayer};
pub use self::layer::invalidate::{InvalidateLayer, InvalidateService};
pub use self::layer::purge::PurgeRouter;
pub use self::layer::service::{CacheService, ResponseFuture};

/// The README's code is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
