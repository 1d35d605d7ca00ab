//! The handle of a cache, and all of its methods.

pub(crate) mod adapter;
pub(crate) mod borrowing;
pub(crate) mod builder;
mod collecting;
pub(crate) mod default_cache;
pub(crate) mod deferred;
pub(crate) mod follow;
pub(crate) mod get_or_load;
pub(crate) mod handle;
pub(crate) mod inspect;
pub(crate) mod invalidate;
mod invalidation_part;
pub(crate) mod invalidation_set;
pub(crate) mod key;
pub(crate) mod many;
pub(crate) mod ops;
pub(crate) mod stats;
