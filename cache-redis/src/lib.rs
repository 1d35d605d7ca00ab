//! Redis backend of the caching toolkit.

mod backend;
mod builder;
mod clear;
mod connection;
mod error;
mod format;
mod lane;
mod script;
#[cfg(feature = "rustls")]
mod tls;
mod url;

pub use self::backend::RedisBackend;
pub use self::builder::RedisBackendBuilder;
