//! What is known about a request before the lookup, and what the requests of a layer share.

pub(crate) mod body;
pub(crate) mod bypass;
pub(crate) mod context;
pub(crate) mod debug;
pub(crate) mod detached;
pub(crate) mod extension;
pub(crate) mod hit_for_miss;
pub(crate) mod nesting;
pub(crate) mod shared;
pub(crate) mod variant_uses;
