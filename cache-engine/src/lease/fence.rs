//! What a fill is conditional on: the lease, or the stale record, that its load began from.

use cache_core::Version;

use crate::tier::precondition::Lease;

/// What a fill is conditional on. A fence is put in place before the load, and an invalidation in between breaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// There was no record. A lease is stored in its place.
    Lease(Lease),
    /// There is a record, and a lease beside it.
    Record { record: Version, lease: Version },
    /// The lease of another load, which is not waited for. The first load to fill it replaces it.
    Others(Lease),
}

impl Fence {
    /// Returns the version of the record that the load is to replace, if there is one.
    pub(crate) fn record(self) -> Option<Version> {
        match self {
            Self::Record { record, .. } => Some(record),
            Self::Lease(_) | Self::Others(_) => None,
        }
    }

    /// Returns the version that the fill is conditional on.
    pub(super) fn version(self) -> Version {
        match self {
            Self::Lease(lease) | Self::Others(lease) => lease.version,
            Self::Record { record, .. } => record,
        }
    }
}
