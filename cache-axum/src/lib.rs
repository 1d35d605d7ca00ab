//! HTTP response caching for axum.

mod answer;
mod body;
mod client;
mod coder;
mod collect;
mod content;
mod control;
mod extract;
mod find;
mod invalidate;
mod judge;
mod key;
mod layer;
mod line;
mod load;
mod marks;
mod options;
mod report;
mod service;
mod stored;

pub use cache_engine;
#[cfg(feature = "macros")]
#[doc(inline)]
pub use cache_engine::__private::{cached_of_axum as cached, invalidates_of_axum as invalidates};
pub use cache_http;

pub use self::client::ClientCaching;
pub use self::coder::ResponseCoder;
pub use self::control::{DoNotStore, StoreFor};
pub use self::extract::{CacheHandle, NoCacheLayer};
pub use self::invalidate::{InvalidateLayer, InvalidateService};
pub use self::key::UrlKey;
pub use self::layer::CacheLayer;
pub use self::service::{CacheService, ResponseFuture};
pub use self::stored::{Stored, StoredResponse, Variants};
