//! Leases and fences: one load per key in the cluster, and no value that was loaded before an invalidation.

pub(crate) mod ahead;
mod doubt;
pub(crate) mod fence;
pub(crate) mod protocol;
