//! Counters of what a cache did since it was built, by namespace.

pub(crate) mod counters;
pub(crate) mod feeds;
pub(crate) mod histogram;
pub(crate) mod reasons;
pub(crate) mod recent;
pub(crate) mod refusals;
pub(crate) mod registry;
pub(crate) mod snapshot;
