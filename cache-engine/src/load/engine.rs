//! The engine behind a handle.

use std::sync::Arc;

use crate::load::policy::Policy;
use crate::load::shared::Shared;
use crate::tags::declared::Declared;

/// The engine of one handle: what all handles of a cache share, and the policy, tags and coder of this handle.
#[derive(Debug)]
pub(crate) struct Engine<C> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) policy: Policy,
    /// The tags of entries that are stored through the handle.
    pub(crate) tags: Declared,
    pub(crate) coder: Arc<C>,
}

impl<C> Clone for Engine<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            policy: self.policy,
            tags: self.tags.clone(),
            coder: Arc::clone(&self.coder),
        }
    }
}
