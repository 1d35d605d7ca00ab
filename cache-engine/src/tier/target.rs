//! The targets of an invalidation.

use cache_core::{Key, Namespace};

/// The target of an invalidation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Key(Key),
    Tag(Box<str>),
    Namespace(Namespace),
    Everything,
}
