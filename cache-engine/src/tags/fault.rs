//! Why a value must not be stored, because of its tags.

use cache_core::Error;

/// Why a value must not be stored, because of its tags.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// A tag was invalidated during the load.
    Fenced,
    /// The tags could not be read.
    Failed(Error),
    /// The value depends on tags that it cannot carry.
    Uncarried(Error),
}
