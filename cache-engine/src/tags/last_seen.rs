//! The tag versions that this process saw last, however long ago.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use cache_core::Key;

use crate::tags::version::TagVersion;

/// The limit for remembered versions.
const MOST: usize = 10_000;

/// The version of each tag that this process saw last. It may be outdated.
#[derive(Debug, Default)]
pub(super) struct LastSeen(RwLock<HashMap<Key, TagVersion>>);

impl LastSeen {
    /// Remembers the version of a tag.
    pub(super) fn note(&self, key: &Key, state: TagVersion) {
        if self.get(key) == Some(state) {
            return;
        }
        let mut seen = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(key.clone(), state);
    }

    /// Returns the version of a tag that was seen last.
    pub(super) fn get(&self, key: &Key) -> Option<TagVersion> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }
}
