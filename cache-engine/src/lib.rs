//! The `Cache` handle.

mod breaker;
mod builder;
mod cache;
mod chain;
mod core;
mod entry;
mod event;
mod fence;
mod fill;
mod flight;
mod get_or_load;
mod into_key;
mod load;
mod load_error;
mod lookup;
mod many;
mod pilot;
mod policy;
mod see;
mod store;

pub use cache_core;

pub use self::builder::CacheBuilder;
pub use self::cache::Cache;
pub use self::entry::Found;
pub use self::event::{Event, LoadFailure, Observer};
pub use self::fill::{Fill, StoreOutcome};
pub use self::get_or_load::Borrowing;
pub use self::into_key::IntoKey;
pub use self::load::{Load, Loaded, Stale};
pub use self::load_error::LoadError;
pub use self::lookup::{Lookup, Refresh};
pub use self::policy::Policy;
