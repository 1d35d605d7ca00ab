//! The tag cache: the tag versions that were read recently, valid for as long as the user allows or until the store
//! reports a change, and the tags that were changed recently.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cache_core::{Key, Scope};
use tokio::time::Instant;

use crate::store::changes::{ChangeStamp, Changes};
use crate::tags::name::is_of_tag;
use crate::tags::version::TagVersion;

/// The limit for remembered tags, and also for remembered changes of tags.
const MOST: usize = 10_000;

/// Remembers the tag versions that were read last, and which tags were changed.
///
/// A tag version may be forgotten at any time. A change may not be forgotten for as long as a copy, or an answer of the
/// store that is still under way, could predate it.
#[derive(Debug)]
pub(crate) struct TagCache {
    /// How long a tag version stays valid.
    bound: Duration,
    /// How long versions and changes are retained for `recall_last`, which returns what this process itself knows.
    retention: Duration,
    /// A tag version also stays valid until a change is reported here, but no longer than `near_max_age`.
    changes: Option<Arc<Changes>>,
    /// The maximum age of near copies, if there is one. It bounds what a lost report of a change can do, and would not
    /// if a tag that a copy has were believed for longer.
    near_max_age: Option<Duration>,
    /// The number of changes so far.
    change_count: AtomicU64,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    versions: HashMap<Key, CachedVersion>,
    /// The last change of each tag, made by this process or reported by the store.
    changed: HashMap<Key, Change>,
    /// When changes were forgotten for lack of room. Any tag may have been changed then.
    overflowed: Option<Change>,
}

#[derive(Debug, Clone, Copy)]
struct CachedVersion {
    state: TagVersion,
    /// When the read or the write of the store began.
    started: Instant,
    /// Whether a change since then would have been reported.
    is_watched: bool,
}

#[derive(Debug, Clone, Copy)]
struct Change {
    /// The sequence number of the change.
    number: u64,
    /// When the change became known, which is when it was carried out, or later.
    at: Instant,
}

/// The moment at which the store was read for what is to be remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadStart {
    at: Instant,
    /// The number of changes known at that time.
    changes: u64,
    stamp: Option<ChangeStamp>,
}

/// The last version of a tag, as far as this process knows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Last {
    /// The version.
    Version(TagVersion),
    /// The tag was changed, and its current version is not known.
    Changed,
    /// Nothing is known of the tag.
    Unknown,
}

impl TagCache {
    /// Creates a cache that remembers tag versions for `bound`, which may be zero, and until `changes` report a change,
    /// but then for at most `near_max_age`. Changes that are older than both need not be remembered.
    pub(crate) fn new(bound: Duration, near_max_age: Option<Duration>, changes: Option<Arc<Changes>>) -> Self {
        // Answers of the store that are under way may be older than the changes that it reports.
        let under_way = changes.as_ref().map(|changes| changes.bound()).unwrap_or_default();
        Self {
            bound,
            retention: near_max_age.unwrap_or_default().max(bound).max(under_way),
            changes,
            near_max_age,
            change_count: AtomicU64::new(0),
            known: RwLock::default(),
        }
    }

    fn is_idle(&self) -> bool {
        self.retention.is_zero()
    }

    /// Returns the current moment. Call this before the store is read or written.
    pub(super) fn begin_read(&self) -> ReadStart {
        let reported = self.changes.as_ref().filter(|changes| changes.are_reported());
        ReadStart {
            at: Instant::now(),
            changes: self.change_count.load(Ordering::SeqCst),
            stamp: reported.map(|changes| changes.reserved_stamp()),
        }
    }

    /// Returns the version of a tag, if it is still valid.
    pub(super) fn recall(&self, key: &Key) -> Option<TagVersion> {
        if self.is_idle() {
            return None;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let cached = known.versions.get(key)?;
        let age = cached.started.elapsed();
        let is_unchanged = || {
            cached.is_watched
                && self.near_max_age.is_none_or(|most| age < most)
                && self.changes.as_ref().is_some_and(|changes| changes.are_reported())
        };
        (age < self.bound || is_unchanged()).then_some(cached.state)
    }

    /// Returns the last version of a tag, as far as this process knows.
    pub(super) fn recall_last(&self, key: &Key) -> Last {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = known.versions.get(key)
            && cached.started.elapsed() < self.retention
        {
            return Last::Version(cached.state);
        }
        match known.last_change(key) {
            Some(change) if change.at.elapsed() < self.retention => Last::Changed,
            _ => Last::Unknown,
        }
    }

    /// Remembers a version that was read from the store, unless something later is known.
    pub(super) fn remember(&self, key: &Key, state: TagVersion, started: ReadStart) {
        if self.is_idle() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let later = known
            .versions
            .get(key)
            .is_some_and(|cached| cached.started > started.at);
        if later || known.has_changed_since(key, started) {
            return;
        }
        // Compared under the lock, which every report of a change takes afterwards.
        let unmoved = |changes: &Arc<Changes>| started.stamp == Some(changes.reserved_stamp());
        let cached = CachedVersion {
            state,
            started: started.at,
            is_watched: self.changes.as_ref().is_some_and(unmoved),
        };
        self.put(&mut known, key, cached);
    }

    /// Remembers a version that this process wrote unconditionally, where the write began at `started`. Its age counts
    /// from then: another process may have replaced it before the store's answer came. Reads that began before now are
    /// outdated, which the noted change tells them. The store will report this write like any other change.
    pub(super) fn replace(&self, key: &Key, state: TagVersion, started: ReadStart) {
        if self.is_idle() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // In that case, which of the two changes came first in the store is unknown.
        let another = known.has_changed_since(key, started);
        self.note_change(&mut known, key);
        if another {
            known.versions.remove(key);
        } else {
            let cached = CachedVersion {
                state,
                started: started.at,
                is_watched: false,
            };
            self.put(&mut known, key, cached);
        }
    }

    /// Records that the record of a tag was changed.
    pub(crate) fn forget(&self, key: &Key) {
        if !self.is_idle() && is_of_tag(key) {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            self.note_change(&mut known, key);
            known.versions.remove(key);
        }
    }

    /// Records that any record in `scope` may have been changed.
    pub(crate) fn forget_all(&self, scope: &Scope) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.versions.retain(|key, _| !scope.contains(key));
    }

    fn put(&self, known: &mut Known, key: &Key, cached: CachedVersion) {
        if known.versions.len() >= MOST && !known.versions.contains_key(key) {
            known
                .versions
                .retain(|_, cached| cached.is_watched || cached.started.elapsed() < self.retention);
            if known.versions.len() >= MOST {
                known.versions.clear();
            }
        }
        known.versions.insert(key.clone(), cached);
    }

    fn note_change(&self, known: &mut Known, key: &Key) {
        let change = Change {
            number: self.change_count.fetch_add(1, Ordering::SeqCst) + 1,
            at: Instant::now(),
        };
        if known.changed.len() >= MOST && !known.changed.contains_key(key) {
            known.changed.retain(|_, change| change.at.elapsed() < self.retention);
            // Makes room for many changes, so that this does not run for each one.
            if known.changed.len() >= MOST / 2 {
                known.changed.clear();
                known.overflowed = Some(change);
            }
        }
        known.changed.insert(key.clone(), change);
    }
}

impl Known {
    fn last_change(&self, key: &Key) -> Option<Change> {
        // All changes are forgotten together, so a change that is present is the later one.
        self.changed.get(key).copied().or(self.overflowed)
    }

    fn has_changed_since(&self, key: &Key, started: ReadStart) -> bool {
        self.last_change(key)
            .is_some_and(|change| change.number > started.changes)
    }
}
