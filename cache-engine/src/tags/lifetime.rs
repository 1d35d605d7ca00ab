//! How long the records of tags are kept.
//!
//! A tag's record is written for [`KEPT`]. When an entry is stored that needs it for longer, it is prolonged, so that it
//! outlives the entry. If it ends too early all the same, the entry is a miss.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::{Key, SetOptions, SetOutcome, Tags, Timestamp, Ttl, Version};

use crate::tags::records::TagRecords;
use crate::tags::version::{TagVersion, decode};

/// How long a record is kept if no entry needs it for longer, and by how much it outlives the entries that do.
pub(super) const KEPT: Duration = Duration::from_secs(60 * 60);

/// By how much a record outlives an entry at least; if it would be less, the record is prolonged.
const MARGIN: Duration = Duration::from_secs(10 * 60);

/// How often a prolongation is tried again that another write of the record got in the way of.
const ATTEMPTS: usize = 3;

/// How many prolonged records are remembered at most.
const MOST: usize = 10_000;

/// Writes a record for as long as no entry needs it for longer.
pub(super) fn kept() -> SetOptions {
    SetOptions::new(KEPT)
}

/// How long a record is kept that is written over one that has `remaining` left; `None` is for ever.
pub(super) fn at_least_kept(remaining: Option<Duration>) -> Ttl {
    remaining.map_or(Ttl::FOREVER, |remaining| Ttl::from(remaining.max(KEPT)))
}

/// Whether a record of the sequence or of a page is to be written anew, so that it does not end while it is in use.
pub(super) fn is_ending(remaining: Option<Duration>) -> bool {
    remaining.is_some_and(|remaining| remaining < KEPT / 2)
}

/// The record of a tag that was read, and that ends.
#[derive(Debug, Clone)]
struct Ending {
    key: Key,
    state: TagVersion,
    /// The version of the record, which every write of it replaces.
    version: Version,
    ends: Timestamp,
}

impl Ending {
    /// Whether the record ends too early for an entry that lives for `lifetime` from now on.
    fn is_early(&self, lifetime: Ttl, now: Timestamp) -> bool {
        lifetime
            .as_duration()
            .is_none_or(|lifetime| self.ends.saturating_since(now) < lifetime.saturating_add(MARGIN))
    }
}

/// When the records of the tags end that a load has captured.
#[derive(Debug, Clone, Default)]
pub(crate) struct TagLifetimes(Vec<Ending>);

impl TagLifetimes {
    /// Takes note of a record that will be kept for `remaining` from `now` on; `None` is for ever.
    pub(super) fn note(
        &mut self,
        key: &Key,
        state: TagVersion,
        version: Version,
        remaining: Option<Duration>,
        now: Timestamp,
    ) {
        if let Some(remaining) = remaining {
            self.0.push(Ending {
                key: key.clone(),
                state,
                version,
                ends: after(now, remaining),
            });
        }
    }

    /// Adds `more`.
    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

/// The records that this process has prolonged: the version of the tag, and when the record ends; `None` is never.
///
/// Many entries with one tag may be stored at the same time. One of them prolongs its record.
#[derive(Debug, Default)]
pub(super) struct Prolonged(Mutex<HashMap<Key, (Version, Option<Timestamp>)>>);

impl Prolonged {
    fn suffices(&self, ending: &Ending, lifetime: Ttl, now: Timestamp) -> bool {
        match self.lock().get(&ending.key) {
            Some((version, None)) => *version == ending.state.version,
            Some((version, Some(ends))) => {
                let prolonged = Ending {
                    ends: *ends,
                    ..ending.clone()
                };
                *version == ending.state.version && !prolonged.is_early(lifetime, now)
            }
            None => false,
        }
    }

    fn note(&self, key: &Key, version: Version, ends: Option<Timestamp>) {
        let mut prolonged = self.lock();
        if prolonged.len() >= MOST {
            prolonged.clear();
        }
        prolonged.insert(key.clone(), (version, ends));
    }

    fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Version, Option<Timestamp>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(now: Timestamp, duration: Duration) -> Timestamp {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_add(millis))
}

impl TagRecords {
    /// Prolongs the records of `tags` that would end before an entry does which carries them and is stored now for
    /// `lifetime`. `known` says when they end. Writes nothing if none would.
    ///
    /// A failure is an event already, and the entry is a miss once the record has ended.
    pub(crate) async fn prolong(&self, tags: &Tags, known: &TagLifetimes, lifetime: Ttl) {
        let now = self.clock.now();
        let is_carried = |ending: &Ending| tags.iter().any(|(_, version)| version == ending.state.version);
        let mut early: Vec<Ending> = known
            .0
            .iter()
            .filter(|ending| ending.is_early(lifetime, now) && is_carried(ending))
            .filter(|ending| !self.prolonged.suffices(ending, lifetime, now))
            .cloned()
            .collect();
        if !early.is_empty() {
            // Boxed, since it happens once an hour for each tag, and every load would carry its weight.
            Box::pin(self.prolong_all(&mut early, lifetime, now)).await;
        }
    }

    async fn prolong_all(&self, early: &mut Vec<Ending>, lifetime: Ttl, now: Timestamp) {
        let longer = lifetime
            .as_duration()
            .map_or(Ttl::FOREVER, |lifetime| Ttl::from(lifetime.saturating_add(KEPT)));
        let ends = longer.as_duration().map(|longer| after(now, longer));
        for _ in 0..ATTEMPTS {
            let mut entries = Vec::with_capacity(early.len());
            for ending in &*early {
                let Ok(value) = self.encode(&ending.key, ending.state) else {
                    return;
                };
                // Only over what was read: whoever has invalidated the tag meanwhile is not to be undone.
                let options = SetOptions::new(longer).if_version(ending.version);
                entries.push((ending.key.clone(), value, options));
                self.prolonged.note(&ending.key, ending.state.version, ends);
            }
            let Ok(outcomes) = self.store.set_many(entries).await else {
                for ending in &*early {
                    self.prolonged.forget(&ending.key);
                }
                return;
            };
            let mut outcomes = outcomes.into_iter();
            early.retain(|_| outcomes.next() == Some(SetOutcome::Refused));
            if early.is_empty() {
                return;
            }
            // Another process has prolonged them, perhaps for less, or they were invalidated.
            let keys: Vec<Key> = early.iter().map(|ending| ending.key.clone()).collect();
            keys.iter().for_each(|key| self.prolonged.forget(key));
            let Ok(records) = self.store.get_many(&keys).await else {
                return;
            };
            let mut records = records.into_iter();
            early.retain_mut(|ending| {
                let Some(record) = records.next().flatten() else {
                    return false;
                };
                let (Some(state), Some(remaining)) = (decode(&record, &ending.key), record.remaining) else {
                    return false;
                };
                ending.version = record.version;
                ending.ends = after(now, remaining);
                state.version == ending.state.version && ending.is_early(lifetime, now)
            });
            if early.is_empty() {
                return;
            }
        }
    }
}
