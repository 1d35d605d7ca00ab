//! The engine behind a handle.

use std::sync::Arc;

use crate::load::on_hit::OnHit;
use crate::load::policy::Policy;
use crate::load::shared::Shared;
use crate::tags::declared::Declared;

/// The engine of one handle: what all handles of a cache share, and the policy, tags and coder of this handle.
#[derive(Debug)]
pub(crate) struct Engine<C> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) policy: Policy,
    /// What the policy has calls do about hits. `None` if that is nothing but to return them.
    pub(crate) on_hit: Option<OnHit>,
    /// The tags of entries that are stored through the handle.
    pub(crate) tags: Declared,
    pub(crate) coder: Arc<C>,
}

impl<C> Clone for Engine<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            policy: self.policy,
            on_hit: self.on_hit,
            tags: self.tags.clone(),
            coder: Arc::clone(&self.coder),
        }
    }
}

impl<C> Engine<C> {
    /// Replaces the policy.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.on_hit = OnHit::of(&policy);
    }
}
