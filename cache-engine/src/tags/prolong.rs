//! Prolongs the records of tags, so that they outlive the entries that carry them, and the loads that have read them.

use cache_core::{Key, SetOptions, SetOutcome, Tags, Timestamp, Ttl, Version};

use crate::tags::lifetime::{Ending, KEPT, Prolonged, TagLifetimes, after};
use crate::tags::name::TAG;
use crate::tags::records::TagRecords;

/// The maximum number of attempts to prolong a record if other writes of it interfere.
const ATTEMPTS: usize = 3;

impl TagRecords {
    /// Prolongs the records of `tags` that would expire before an entry that carries them and is stored now for
    /// `lifetime`. `known` says when the records expire. Writes nothing if no record would expire too early.
    ///
    /// A failure emits an event, and the entry is a miss once the record has expired.
    pub(crate) async fn prolong(&self, tags: &Tags, known: &TagLifetimes, lifetime: Ttl) {
        let is_carried = |ending: &Ending| tags.iter().any(|(_, version)| version == ending.state.version);
        self.prolong_those(known, lifetime, is_carried).await;
    }

    /// Prolongs the records in `known` that expire soon, so that the load that has read them can store its value. To be
    /// called again with each renewal of the load's lease.
    pub(crate) async fn prolong_for_load(&self, known: &TagLifetimes) {
        self.prolong_those(known, Ttl::from(self.renewal), |_| true).await;
    }

    /// As [`prolong_for_load`](Self::prolong_for_load), when the records were just read. Writes nothing unless one of
    /// them expires before the first renewal.
    pub(super) async fn prolong_for_start(&self, known: &TagLifetimes) {
        if known.end_within(self.renewal, self.clock.now()) {
            self.prolong_for_load(known).await;
        }
    }

    /// Prolongs the records of `tags` for an entry that carries them and was just stored for `lifetime`. When they expire
    /// is not known, so they are read first.
    pub(crate) async fn prolong_unknown(&self, tags: Vec<(Box<str>, Version)>, lifetime: Ttl) {
        let keys: Vec<Key> = tags.iter().map(|(name, _)| self.own(TAG).key(&**name)).collect();
        let now = self.clock.now();
        let Ok(records) = self.store.get_many(&keys).await else {
            return;
        };
        let mut known = TagLifetimes::default();
        for ((key, record), (_, version)) in keys.iter().zip(records).zip(&tags) {
            let Some(record) = record else { continue };
            if let Some(state) = self.decode(&record, key).filter(|state| state.version == *version) {
                known.note(key, state, record.version, record.remaining, now);
            }
        }
        self.prolong_those(&known, lifetime, |_| true).await;
    }

    async fn prolong_those(&self, known: &TagLifetimes, lifetime: Ttl, needed: impl Fn(&Ending) -> bool) {
        if known.is_empty() {
            return;
        }
        let now = self.clock.now();
        let mut early: Vec<Ending> = known
            .early(lifetime, now)
            .filter(|ending| needed(ending) && !self.prolonged.suffices(ending, lifetime, now))
            .map(|ending| self.prolonged.latest(ending))
            .collect();
        if !early.is_empty() {
            // Boxed, since this runs once an hour for each tag, and every load's future would grow otherwise.
            Box::pin(self.prolong_all(&mut early, lifetime, now)).await;
        }
    }

    async fn prolong_all(&self, early: &mut Vec<Ending>, lifetime: Ttl, now: Timestamp) {
        let longer = lifetime
            .as_duration()
            .map_or(Ttl::FOREVER, |lifetime| Ttl::from(lifetime.saturating_add(KEPT)));
        let ends = longer.as_duration().map(|longer| after(now, longer));
        for _ in 0..ATTEMPTS {
            // Noted before the write, so that other fills do not write too. Forgotten again unless all is written.
            let mut unwritten = Unwritten {
                prolonged: &self.prolonged,
                keys: early.iter().map(|ending| ending.key.clone()).collect(),
            };
            let mut entries = Vec::with_capacity(early.len());
            for ending in &*early {
                let Ok(value) = self.encode(&ending.key, ending.state) else {
                    return;
                };
                // Written only over the version that was read, so that an invalidation made meanwhile is not undone.
                let options = SetOptions::new(longer).if_version(ending.version);
                entries.push((ending.key.clone(), value, options));
                self.prolonged.note(ending, ends);
            }
            let Ok(outcomes) = self.store.set_many(entries).await else {
                return;
            };
            let mut outcomes = outcomes.into_iter();
            early.retain_mut(|ending| match outcomes.next() {
                Some(SetOutcome::Stored(version)) => {
                    ending.version = version;
                    self.prolonged.note(ending, ends);
                    false
                }
                outcome => outcome.is_some(),
            });
            // Another process has prolonged these records, perhaps for less, or they were invalidated.
            unwritten.keys = early.iter().map(|ending| ending.key.clone()).collect();
            if early.is_empty() {
                return;
            }
            let Ok(records) = self.store.get_many(&unwritten.keys).await else {
                return;
            };
            drop(unwritten);
            let mut records = records.into_iter();
            early.retain_mut(|ending| {
                let record = records.next().flatten();
                let current = record.and_then(|record| {
                    let same = self.decode(&record, &ending.key)?.version == ending.state.version;
                    same.then_some(record)
                });
                // A version that is gone never comes back, so there is nothing to prolong any more.
                let remaining = current.as_ref().and_then(|record| record.remaining);
                if let (Some(record), Some(remaining)) = (current, remaining) {
                    ending.version = record.version;
                    ending.ends = after(now, remaining);
                    if ending.is_early(lifetime, now) {
                        return true;
                    }
                }
                let ends = remaining.map(|remaining| after(now, remaining));
                self.prolonged.note(ending, ends);
                false
            });
            if early.is_empty() {
                return;
            }
        }
    }
}

/// Records that count as prolonged, although they are not written yet. Dropping it, also because the caller left,
/// leaves them to the next one that needs them.
struct Unwritten<'a> {
    prolonged: &'a Prolonged,
    keys: Vec<Key>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.prolonged.forget(key));
    }
}
