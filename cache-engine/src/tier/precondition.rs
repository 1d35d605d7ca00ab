//! The result of a read that a write may be conditional on.

use cache_core::Version;

/// What a load is to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition {
    Nothing,
    Record(Version),
    /// The lease of a load that began before its namespace was cleared, in a store that could not remove it.
    Lease(Version),
}

/// A lease under the key itself.
///
/// Each renewal changes the version of the record, so a renewed lease names the version that it was first written as. A
/// lease is renewed only over itself. If a record names the same first version, nothing has replaced the lease in
/// between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The current version of the record, as far as is known.
    pub(crate) version: Version,
    pub(crate) first: Version,
}

impl Lease {
    /// Returns a lease that was just written as `version`.
    pub(crate) fn new(version: Version) -> Self {
        Self {
            version,
            first: version,
        }
    }

    pub(crate) fn renewed_as(self, version: Version) -> Self {
        Self { version, ..self }
    }
}
