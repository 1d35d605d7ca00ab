//! Larder caches axum endpoints and async functions, in memory, Redis, Memcached or DynamoDB.
//!
//! A cached function takes three lines:
//!
//! ```
//! use larder::{Cache, MemoryBackend, cached};
//!
//! #[cached(ttl = "60s")]
//! async fn square(number: u64) -> u64 {
//!     number * number
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! larder::set_default_cache(Cache::builder(MemoryBackend::default()).build())?;
//! assert_eq!(square(12).await, 144); // runs
//! assert_eq!(square(12).await, 144); // does not
//! # Ok(()) }
//! ```
//!
//! A cached endpoint takes two more, with the feature `axum`:
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn router() -> axum::Router {
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use larder::axum::CacheLayer;
//! use larder::{Cache, MemoryBackend};
//!
//! let cache = Cache::builder(MemoryBackend::default()).build();
//! let layer = CacheLayer::new(cache).ttl(Duration::from_secs(60));
//! let router = Router::new().route("/", get(async || "Hello!\n")).layer(layer);
//! # router }
//! ```
//!
//! # Where to find what
//!
//! | you want | you find it in | feature |
//! |---|---|---|
//! | values by key: `get_or_load`, tags, stale values, a near tier | [`Cache`] | |
//! | cached functions | [`cached`], [`invalidates`] | `macros` (default) |
//! | cached endpoints | `larder::axum` | `axum` |
//! | invalidation and look-ups over HTTP | `larder::axum::PurgeRouter`, `larder::axum::InspectRouter` | `purge` |
//! | a page for operators | `larder::axum::AdminRouter` | `admin` |
//! | invalidation that reaches a CDN | `larder::axum::SurrogateKeys`, [`Purger`], `larder::axum::HttpPurger` | `axum`, `http-purger` |
//! | the rules of HTTP caching, without a framework | `larder::http` | `axum` |
//! | a store by its URL | [`open`] | one for each store |
//! | settings from a file or the environment | `Settings` | `settings` |
//! | a store in this process | [`MemoryBackend`], `larder::memory` | `memory` (default) |
//! | Redis and Valkey | `larder::redis` | `redis`; `redis-rustls` for TLS |
//! | Memcached | `larder::memcached` | `memcached`; `memcached-rustls` for TLS |
//! | DynamoDB | `larder::dynamodb` | `dynamodb` |
//! | the coders `Cbor`, `MessagePack`, `Postcard` | [`cache_core`] | `cbor`, `messagepack`, `postcard` |
//! | compression and encryption of what is stored | `larder::at_rest` | `zstd`, `lz4`, `encryption` |
//! | metrics, for Prometheus and others | `larder::metrics` | `metrics` |
//! | gates, a store that fails, and more for tests | `larder::cache_core::testing` | `testing` |
//! | a store of your own | [`cache_core`] | |
//!
//! Each part is a crate of its own (`cache-engine`, `cache-axum`, `cache-redis` and so on), which you may depend on
//! instead. A service compiles only the stores that its features name.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod open;
#[cfg(feature = "settings")]
mod settings;

pub use cache_engine::*;

#[cfg(any(feature = "encryption", feature = "lz4", feature = "zstd"))]
pub use cache_at_rest as at_rest;
#[cfg(feature = "axum")]
pub use cache_axum as axum;
#[cfg(feature = "axum")]
pub use cache_axum::cache_http as http;
#[cfg(feature = "dynamodb")]
pub use cache_dynamodb as dynamodb;
#[doc(hidden)]
pub use cache_engine;
// The macros expand to paths of this crate, so that a service need not depend on others.
#[cfg(feature = "macros")]
#[doc(inline)]
pub use cache_macros::{cached_of_larder as cached, invalidates_of_larder as invalidates};
#[cfg(feature = "memcached")]
pub use cache_memcached as memcached;
#[cfg(feature = "memory")]
pub use cache_memory as memory;
#[cfg(feature = "memory")]
pub use cache_memory::MemoryBackend;
#[cfg(feature = "metrics")]
pub use cache_metrics as metrics;
#[cfg(feature = "redis")]
pub use cache_redis as redis;

pub use self::open::open;
#[cfg(feature = "settings")]
pub use self::settings::{NearSettings, Settings};

/// The imports that most services need: `use larder::prelude::*;`.
///
/// `Error` is the error of the cache's methods, and of whatever calls them. A handler of axum cannot return it, because it
/// is no response. It returns `larder::axum::Error`, which needs no import and into which `?` converts the errors of the
/// cache and of its loads:
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn router(cache: larder::Cache) -> axum::Router {
/// use axum::extract::State;
/// use axum::routing::get;
/// use axum::{Json, Router};
/// use larder::prelude::*;
///
/// async fn stock(State(cache): State<Cache>) -> Result<Json<u32>, larder::axum::Error> {
///     let stock = cache.get_or_load("stock", || async { Ok::<u32, std::io::Error>(7) }).await?;
///     Ok(Json(*stock))
/// }
///
/// async fn sell(cache: CacheHandle) -> Result<(), larder::axum::Error> {
///     // … change the stock, and then:
///     cache.invalidate_key("stock").await?;
///     Ok(())
/// }
///
/// Router::new().route("/stock", get(stock).post(sell)).with_state(cache)
/// # }
/// ```
pub mod prelude {
    #[cfg(feature = "axum")]
    pub use cache_axum::{CacheHandle, CacheLayer};
    pub use cache_engine::cache_core::{Backend, Error};
    pub use cache_engine::{Cache, LoadError};

    #[cfg(feature = "memory")]
    pub use crate::MemoryBackend;
    #[cfg(feature = "settings")]
    pub use crate::Settings;
    pub use crate::open;
    #[cfg(feature = "macros")]
    pub use crate::{cached, invalidates};
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
