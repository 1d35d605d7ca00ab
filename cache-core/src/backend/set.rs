//! The options and the outcome of a write.

use crate::record::{Record, Version};
use crate::ttl::Ttl;

/// The condition under which a [`set`](crate::Backend::set) writes.
///
/// This enum is closed on purpose and will get no further variant. The toolkit's guarantees rest on these three, so
/// every backend must support all of them, and a `match` without a wildcard proves at compile time that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetMode {
    /// Writes unconditionally.
    Always,
    /// Writes only if there is no record under the key.
    IfAbsent,
    /// Writes only if the record under the key still has this version.
    IfVersion(Version),
}

/// How a value is written.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct SetOptions {
    /// How long the store keeps the record.
    pub ttl: Ttl,
    /// The condition under which the record is written.
    pub mode: SetMode,
    /// Whether the record is a lease, which shows that a load is running. See [`lease`](Self::lease).
    pub lease: bool,
}

impl SetOptions {
    /// Returns options that write unconditionally and keep the record for `ttl`.
    pub fn new(ttl: impl Into<Ttl>) -> Self {
        Self {
            ttl: ttl.into(),
            mode: SetMode::Always,
            lease: false,
        }
    }

    /// Writes only if there is no record under the key.
    pub fn if_absent(mut self) -> Self {
        self.mode = SetMode::IfAbsent;
        self
    }

    /// Writes only if the record under the key still has `version`.
    pub fn if_version(mut self, version: Version) -> Self {
        self.mode = SetMode::IfVersion(version);
        self
    }

    /// Marks the record as a lease: a small record that says that a load is running, and is soon replaced by its value.
    ///
    /// A store that evicts should evict leases last, since losing one repeats a load. Otherwise a lease is a record like
    /// any other, and a backend may ignore the mark. Default: not a lease.
    pub fn lease(mut self) -> Self {
        self.lease = true;
        self
    }
}

/// The outcome of a [`set`](crate::Backend::set).
///
/// This enum is closed on purpose: a write is carried out or refused, and everything else is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum SetOutcome {
    /// The value was written, with this version.
    Stored(Version),
    /// The [mode](SetMode)'s condition did not hold, and nothing was changed.
    Refused,
}

impl SetOutcome {
    /// Returns the version of the record, if it was written.
    #[must_use]
    pub fn version(self) -> Option<Version> {
        match self {
            Self::Stored(version) => Some(version),
            Self::Refused => None,
        }
    }
}

/// The outcome of a [`get_or_add`](crate::Backend::get_or_add).
///
/// This enum is closed on purpose: there was a record, or the value was written.
#[derive(Debug, Clone)]
#[must_use]
pub enum GetOrAdd {
    /// There was this record, and nothing was changed.
    Found(Record),
    /// There was no record, and the value was written, with this version.
    Added(Version),
}
