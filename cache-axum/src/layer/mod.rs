//! The public types: the layers and their services, the routers for operators, and the handle for handlers.

#[cfg(feature = "admin")]
pub(crate) mod admin;
pub(crate) mod cache;
#[cfg(feature = "purge")]
pub(crate) mod guard;
pub(crate) mod handle;
#[cfg(feature = "http-purger")]
pub(crate) mod http_purger;
#[cfg(feature = "purge")]
pub(crate) mod inspect;
pub(crate) mod invalidate;
#[cfg(feature = "purge")]
pub(crate) mod purge;
pub(crate) mod service;
