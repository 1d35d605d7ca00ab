//! What a fill is conditional on: the lease, or the stale record, that its load began from.

use cache_core::Version;

use crate::tier::precondition::Lease;

/// What a fill is conditional on. It begins before the load, and an invalidation in between ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// There was no record: a lease stands in its place.
    Lease(Lease),
    /// There is a record, and a lease beside it.
    Record { record: Version, lease: Version },
    /// Somebody else's lease, which is not waited for. Whoever is the first to fill it takes it down.
    Others(Lease),
}

impl Fence {
    /// The version of the record that the load is to replace, if there is one.
    pub(crate) fn record(self) -> Option<Version> {
        match self {
            Self::Record { record, .. } => Some(record),
            Self::Lease(_) | Self::Others(_) => None,
        }
    }

    /// The version that the fill is conditional on.
    pub(super) fn version(self) -> Version {
        match self {
            Self::Lease(lease) | Self::Others(lease) => lease.version,
            Self::Record { record, .. } => record,
        }
    }
}
