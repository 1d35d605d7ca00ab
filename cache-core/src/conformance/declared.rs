//! The capabilities and limits that a test lists.

use crate::backend::Limits;

/// The largest limit that is tried. A gigabyte of zeros uses no memory until a backend sends it.
const MOST_VALUE_BYTES: usize = 1 << 30;

/// The capabilities and limits that the author of a backend expects it to declare. They decide which checks apply.
///
/// For test harnesses of your own; the macro [`conformance!`](macro@crate::conformance) makes one from its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Declared {
    clear: bool,
    shared_objects: bool,
    subscribe: bool,
    value_bytes: bool,
}

impl Declared {
    /// Returns a declaration of no capability and no limit.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds [`Capabilities::clear`](crate::Capabilities::clear).
    pub fn clear(self) -> Self {
        Self { clear: true, ..self }
    }

    /// Adds [`Capabilities::shared_objects`](crate::Capabilities::shared_objects).
    pub fn shared_objects(self) -> Self {
        Self {
            shared_objects: true,
            ..self
        }
    }

    /// Adds [`Capabilities::subscribe`](crate::Capabilities::subscribe).
    pub fn subscribe(self) -> Self {
        Self {
            subscribe: true,
            ..self
        }
    }

    /// Adds [`Limits::value_bytes`](crate::Limits::value_bytes), of at most 1 GiB.
    pub fn value_bytes(self) -> Self {
        Self {
            value_bytes: true,
            ..self
        }
    }

    pub(super) fn has_clear(self) -> bool {
        self.clear
    }

    pub(super) fn has_shared_objects(self) -> bool {
        self.shared_objects
    }

    pub(super) fn has_subscribe(self) -> bool {
        self.subscribe
    }

    pub(super) fn has_value_bytes(self) -> bool {
        self.value_bytes
    }
}

/// Returns the limit on values, if it is small enough to be tried.
pub(super) fn tried_value_bytes(limits: Limits) -> Option<usize> {
    limits.value_bytes.filter(|limit| *limit <= MOST_VALUE_BYTES)
}
