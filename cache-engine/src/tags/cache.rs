//! What tags said lately, for as long as the user allows or until the store tells of a change, and which of them were
//! changed lately.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cache_core::{Key, Scope};
use tokio::time::Instant;

use crate::store::changes::{ChangeStamp, Changes};
use crate::tags::name::is_of_tag;
use crate::tags::version::TagVersion;

/// How many tags are remembered at most, and of how many at most it is remembered that they were changed.
const MOST: usize = 10_000;

/// What tags said when they were read last, and which of them were changed.
///
/// What tags said may be forgotten at any time. That one was changed may not, for as long as a copy, or an answer of the
/// store that is still under way, could be from before.
#[derive(Debug)]
pub(crate) struct TagCache {
    /// For how long what a tag said is good.
    bound: Duration,
    /// For how long it is kept, for those who want to know what this process knows to be outdated.
    kept: Duration,
    /// It is good, too, until a change is told of.
    changes: Option<Arc<Changes>>,
    /// How many changes there were.
    change_count: AtomicU64,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    said: HashMap<Key, Said>,
    /// The last change of each tag, by this process or told of.
    changed: HashMap<Key, Change>,
    /// When changes were forgotten for want of room: any tag may have been changed then.
    gave_up: Option<Change>,
}

#[derive(Debug, Clone, Copy)]
struct Said {
    state: TagVersion,
    /// When the store was asked, or later.
    asked: Instant,
    /// A change since then would have been told of.
    noticed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Change {
    /// Counts the changes.
    number: u64,
    /// When it was known, which is when it was carried out, or later.
    at: Instant,
}

/// When the store was asked for what is to be remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    at: Instant,
    /// How many changes were known.
    changes: u64,
    stamp: Option<ChangeStamp>,
}

/// What a tag said last, as far as this process knows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Last {
    /// This.
    Said(TagVersion),
    /// It was changed, and what it says now is not known.
    Changed,
    /// Nothing is known of it.
    Unknown,
}

impl TagCache {
    /// Remembers for `bound`, which may be zero, and until `changes` tell otherwise. Nobody needs to know of changes
    /// that are older than that or `kept`.
    pub(crate) fn new(bound: Duration, kept: Duration, changes: Option<Arc<Changes>>) -> Self {
        // Answers of the store that are under way may be older than its changes.
        let told = changes.as_ref().map(|changes| changes.bound()).unwrap_or_default();
        Self {
            bound,
            kept: kept.max(bound).max(told),
            changes,
            change_count: AtomicU64::new(0),
            known: RwLock::default(),
        }
    }

    fn is_idle(&self) -> bool {
        self.kept.is_zero()
    }

    /// To be taken before the store is asked, or before it is written to.
    pub(super) fn ask(&self) -> Asked {
        let told = self.changes.as_ref().filter(|changes| changes.are_told());
        Asked {
            at: Instant::now(),
            changes: self.change_count.load(Ordering::SeqCst),
            stamp: told.map(|changes| changes.reserved_stamp()),
        }
    }

    /// What a tag says, if that is good still.
    pub(super) fn recall(&self, key: &Key) -> Option<TagVersion> {
        if self.is_idle() {
            return None;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let said = known.said.get(key)?;
        let told = || said.noticed && self.changes.as_ref().is_some_and(|changes| changes.are_told());
        (said.asked.elapsed() < self.bound || told()).then_some(said.state)
    }

    /// What a tag said last, as far as this process knows.
    pub(super) fn recall_last(&self, key: &Key) -> Last {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = known.said.get(key)
            && said.asked.elapsed() < self.kept
        {
            return Last::Said(said.state);
        }
        match known.last_change(key) {
            Some(change) if change.at.elapsed() < self.kept => Last::Changed,
            _ => Last::Unknown,
        }
    }

    /// Remembers what the store said, unless something later is known.
    pub(super) fn remember(&self, key: &Key, state: TagVersion, asked: Asked) {
        if self.is_idle() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let later = known.said.get(key).is_some_and(|said| said.asked > asked.at);
        if later || known.has_changed_since(key, asked) {
            return;
        }
        // Under the lock, which whoever tells of a change takes afterwards.
        let unmoved = |changes: &Arc<Changes>| asked.stamp == Some(changes.reserved_stamp());
        let said = Said {
            state,
            asked: asked.at,
            noticed: self.changes.as_ref().is_some_and(unmoved),
        };
        self.put(&mut known, key, said);
    }

    /// Remembers what this process wrote over whatever there was, where it began to do so at `asked`. Answers to
    /// questions that were asked before say nothing any more, so this counts from now; and the store will tell of it as
    /// of any other change.
    pub(super) fn replace(&self, key: &Key, state: TagVersion, asked: Asked) {
        if self.is_idle() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Then nobody knows which of the two changes came first in the store.
        let another = known.has_changed_since(key, asked);
        self.note_change(&mut known, key);
        if another {
            known.said.remove(key);
        } else {
            let said = Said {
                state,
                asked: Instant::now(),
                noticed: false,
            };
            self.put(&mut known, key, said);
        }
    }

    /// The record of a tag was changed.
    pub(crate) fn forget(&self, key: &Key) {
        if !self.is_idle() && is_of_tag(key) {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            self.note_change(&mut known, key);
            known.said.remove(key);
        }
    }

    /// Any record in `scope` may have been changed.
    pub(crate) fn forget_all(&self, scope: &Scope) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.said.retain(|key, _| !scope.contains(key));
    }

    fn put(&self, known: &mut Known, key: &Key, said: Said) {
        if known.said.len() >= MOST && !known.said.contains_key(key) {
            known
                .said
                .retain(|_, said| said.noticed || said.asked.elapsed() < self.kept);
            if known.said.len() >= MOST {
                known.said.clear();
            }
        }
        known.said.insert(key.clone(), said);
    }

    fn note_change(&self, known: &mut Known, key: &Key) {
        let change = Change {
            number: self.change_count.fetch_add(1, Ordering::SeqCst) + 1,
            at: Instant::now(),
        };
        if known.changed.len() >= MOST && !known.changed.contains_key(key) {
            known.changed.retain(|_, change| change.at.elapsed() < self.kept);
            // So that room is not made for one at a time.
            if known.changed.len() >= MOST / 2 {
                known.changed.clear();
                known.gave_up = Some(change);
            }
        }
        known.changed.insert(key.clone(), change);
    }
}

impl Known {
    fn last_change(&self, key: &Key) -> Option<Change> {
        // Changes are forgotten together, so the one that is there is the later one.
        self.changed.get(key).copied().or(self.gave_up)
    }

    fn has_changed_since(&self, key: &Key, asked: Asked) -> bool {
        self.last_change(key)
            .is_some_and(|change| change.number > asked.changes)
    }
}
