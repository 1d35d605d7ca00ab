//! The parts of a set of invalidations.

use std::sync::Arc;

use cache_core::Key;

use crate::cache::handle::Cache;

/// An invalidation: of what, in which cache, and whether softly.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) cache: Cache<()>,
    pub(super) soft: bool,
    pub(super) target: Target,
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    Key(Key),
    Tags(Vec<String>),
    Namespace(String),
    Everything,
}

impl Part {
    pub(super) fn new<C>(cache: &Cache<C>, soft: bool, target: Target) -> Self {
        Self {
            cache: cache.with_coder(()),
            soft,
            target,
        }
    }

    /// Adds this part to `parts`. Adjacent tags become one part, since they go to the store in one batch.
    pub(super) fn add_to(self, parts: &mut Vec<Self>) {
        if let Target::Tags(more) = &self.target
            && let Some(last) = parts.last_mut()
            && last.soft == self.soft
            && Arc::ptr_eq(&last.cache.engine.shared, &self.cache.engine.shared)
            && let Target::Tags(tags) = &mut last.target
        {
            for tag in more {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
            return;
        }
        parts.push(self);
    }
}
