//! The public types: the layers and their services, the purge router, and the handle for handlers.

pub(crate) mod cache;
pub(crate) mod handle;
#[cfg(feature = "http-purger")]
pub(crate) mod http_purger;
#[cfg(feature = "purge")]
pub(crate) mod inspect;
pub(crate) mod invalidate;
#[cfg(feature = "purge")]
pub(crate) mod purge;
pub(crate) mod service;
