//! Previews: what a load offers to the waiting callers before it ends.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use cache_core::{Key, Tags};

use crate::lease::fence::Fence;
use crate::load::flight::{Moment, Previewer};
use crate::load::shared::Shared;
use crate::tags::scope::Tagger;

/// What a load offers before it ends, and what it takes to find out whether a caller may have it.
pub(crate) struct Preview {
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    /// What the load's fill is conditional on.
    pub(crate) fence: Option<Fence>,
    /// The tags that the value depends on.
    pub(crate) captured: Tags,
    /// Adds further tags during the load.
    pub(crate) tagger: Tagger,
    /// How many invalidations had become pending before the source was read.
    pub(crate) pending: usize,
}

impl Preview {
    /// Offers the preview to the callers that wait, and to later ones.
    ///
    /// No caller gets a value that was invalidated before the caller began to read. For this, the store is read once
    /// for all callers that wait now, and once for each later caller.
    pub(crate) async fn offer(self, previewer: Previewer, shared: Arc<Shared>, key: Key) {
        if self.fence.is_none() {
            // Nothing shows an invalidation, so the preview is for callers that may have the value too.
            previewer.offer(Arc::new(self), None);
            return;
        }
        let at = if previewer.is_waited_for() {
            let at = previewer.now();
            match self.is_current(&shared, &key).await {
                Some(true) => at,
                // The result of the load is for its own caller only.
                Some(false) => return previewer.disband(),
                None => return,
            }
        } else {
            // Open to nobody, so that each caller reads the store first.
            Moment::default()
        };
        previewer.offer(Arc::new(self), Some(at));
    }

    /// Returns whether neither the key nor the tags that the value depends on have been invalidated. `None` if that
    /// cannot be determined.
    pub(crate) async fn is_current(&self, shared: &Shared, key: &Key) -> Option<bool> {
        let fence = match self.fence? {
            // The lease, however often it was renewed.
            Fence::Lease(lease) => Fence::Others(lease),
            fence => fence,
        };
        if !shared.leases.is_intact(key, fence).await.ok()? {
            return Some(false);
        }
        Some(match self.tagger.with_added(&self.captured).ok() {
            Some(tags) => tags.is_empty() || shared.tier.still_current(key, &tags, self.pending).await,
            None => false,
        })
    }
}

impl fmt::Debug for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preview")
    }
}
