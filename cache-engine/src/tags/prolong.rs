//! Prolongs the records of tags, so that they outlive the entries that carry them.

use cache_core::{Key, SetOptions, SetOutcome, Tags, Timestamp, Ttl};

use crate::tags::lifetime::{Ending, KEPT, TagLifetimes, after};
use crate::tags::records::TagRecords;
use crate::tags::version::decode;

/// The maximum number of attempts to prolong a record if other writes of it interfere.
const ATTEMPTS: usize = 3;

impl TagRecords {
    /// Prolongs the records of `tags` that would expire before an entry that carries them and is stored now for
    /// `lifetime`. `known` says when the records expire. Writes nothing if no record would expire too early.
    ///
    /// A failure emits an event, and the entry is a miss once the record has expired.
    pub(crate) async fn prolong(&self, tags: &Tags, known: &TagLifetimes, lifetime: Ttl) {
        let now = self.clock.now();
        let is_carried = |ending: &Ending| tags.iter().any(|(_, version)| version == ending.state.version);
        let mut early: Vec<Ending> = known
            .early(lifetime, now)
            .filter(|ending| is_carried(ending) && !self.prolonged.suffices(ending, lifetime, now))
            .cloned()
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
            let mut entries = Vec::with_capacity(early.len());
            for ending in &*early {
                let Ok(value) = self.encode(&ending.key, ending.state) else {
                    return;
                };
                // Written only over the version that was read, so that an invalidation made meanwhile is not undone.
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
            // Another process has prolonged the records, perhaps for less, or they were invalidated.
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
