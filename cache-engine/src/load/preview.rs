//! What a load offers to those who wait, before it ends.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use cache_core::{Key, Tags};

use crate::lease::fence::Fence;
use crate::load::flight::{Moment, Previewer};
use crate::load::shared::Shared;
use crate::tags::scope::Tagger;
use crate::tags::snapshot::union;

/// What a load offers before it ends, and by what it is found out whether a caller may have it.
pub(crate) struct Preview {
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    /// What the load's fill is conditional on.
    pub(crate) fence: Option<Fence>,
    /// What the value depends on.
    pub(crate) captured: Tags,
    /// Adds to it.
    pub(crate) tagger: Tagger,
}

impl Preview {
    /// Offers it to those who wait and to those who come.
    ///
    /// No caller gets a value that was invalidated before the caller began to look: the store is asked once for all who wait now, and
    /// once for each who comes later.
    pub(crate) async fn offer(self, previewer: Previewer, shared: Arc<Shared>, key: Key) {
        if self.fence.is_none() {
            // Nothing shows an invalidation, so it is for those who may have the value too.
            previewer.offer(Arc::new(self), None);
            return;
        }
        let at = if previewer.is_waited_for() {
            let at = previewer.now();
            match self.is_current(&shared, &key).await {
                Some(true) => at,
                // What the load brings is for nobody but its own caller.
                Some(false) => return previewer.disband(),
                None => return,
            }
        } else {
            // For nobody, until the store was asked.
            Moment::default()
        };
        previewer.offer(Arc::new(self), Some(at));
    }

    /// Whether the key, and what the value depends on, were not invalidated up to now. `None` if that cannot be found out.
    pub(crate) async fn is_current(&self, shared: &Shared, key: &Key) -> Option<bool> {
        let fence = match self.fence? {
            // However often it was renewed.
            Fence::Lease(lease) => Fence::Others(lease),
            fence => fence,
        };
        if !shared.leases.is_intact(key, fence).await.ok()? {
            return Some(false);
        }
        let added = self.tagger.added().ok();
        let tags = added.and_then(|added| union(&self.captured, &added).ok());
        Some(match tags {
            Some(tags) => tags.is_empty() || shared.tier.still_current(key, &tags).await,
            None => false,
        })
    }
}

impl fmt::Debug for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preview")
    }
}
