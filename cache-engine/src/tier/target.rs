//! The targets of an invalidation.

use cache_core::{Key, Namespace};

/// The target of an invalidation, as a [`Purger`](crate::Purger) is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidationTarget {
    /// What is stored under a key.
    Key(Key),
    /// What carries a tag.
    Tag(Box<str>),
    /// What is in a namespace.
    Namespace(Namespace),
    /// Everything below the cache's prefix.
    Everything,
}
