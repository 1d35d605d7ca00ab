//! What an invalidation concerns.

use cache_core::{Key, Namespace};

/// What is invalidated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Key(Key),
    Tag(Box<str>),
    Namespace(Namespace),
    Everything,
}
