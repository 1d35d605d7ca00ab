//! Memcached.

mod backend;
mod builder;
mod error;
mod fleet;
mod health;
mod ketama;
mod key;
mod lifetime;
mod record;
mod server;
mod session;
mod stream;
mod url;

pub use self::backend::MemcachedBackend;
pub use self::builder::MemcachedBackendBuilder;
pub use self::fleet::{STAND_IN_MILLIS, WhenDown};
