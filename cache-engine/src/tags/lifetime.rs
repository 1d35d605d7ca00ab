//! How long the records of tags are retained.
//!
//! A tag's record is written for [`KEPT`]. When an entry is stored that needs the record for longer, the record is
//! prolonged, so that it outlives the entry. If the record expires too early all the same, the entry is a miss.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::{Key, SetOptions, Timestamp, Ttl, Version};

use crate::tags::version::TagVersion;

/// How long a record is retained if no entry needs it for longer, and by how much it outlives the entries that do.
pub(super) const KEPT: Duration = Duration::from_secs(60 * 60);

/// How long the records for late tags are retained after they were written. There is a fixed number of them, so they
/// may last longer than those of tags.
const KEPT_LATE: Duration = Duration::from_secs(24 * 60 * 60);

/// By how much a record must outlive an entry. If it would outlive it by less, the record is prolonged.
const MARGIN: Duration = Duration::from_secs(10 * 60);

/// The limit for remembered prolonged records.
const MOST: usize = 10_000;

/// Returns the options for writing a record that no entry needs for longer than `KEPT`.
pub(super) fn kept() -> SetOptions {
    SetOptions::new(KEPT)
}

/// Returns how long a record is retained that is written over one with `remaining` time left. `None` is for ever.
pub(super) fn at_least_kept(remaining: Option<Duration>) -> Ttl {
    remaining.map_or(Ttl::FOREVER, |remaining| Ttl::from(remaining.max(KEPT)))
}

/// Returns the options for writing the record of the sequence or of a page.
pub(super) fn kept_late() -> SetOptions {
    SetOptions::new(KEPT_LATE)
}

/// Returns whether a record of the sequence or of a page should be rewritten, so that it does not expire while it is in
/// use. If not, it outlasts a load that begins now and takes half of its lifetime at most.
pub(super) fn is_ending_late(remaining: Option<Duration>) -> bool {
    remaining.is_some_and(|remaining| remaining < KEPT_LATE / 2)
}

/// The record of a tag that was read and will expire.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) key: Key,
    pub(super) state: TagVersion,
    /// The version of the record, which every write of the record replaces.
    pub(super) version: Version,
    pub(super) ends: Timestamp,
}

impl Ending {
    /// Returns whether the record expires too early for an entry that lives for `lifetime` from now on.
    pub(super) fn is_early(&self, lifetime: Ttl, now: Timestamp) -> bool {
        lifetime
            .as_duration()
            .is_none_or(|lifetime| self.ends.saturating_since(now) < lifetime.saturating_add(MARGIN))
    }
}

/// The expiry times of the records of the tags that a load has read.
#[derive(Debug, Clone, Default)]
pub(crate) struct TagLifetimes(Vec<Ending>);

impl TagLifetimes {
    /// Returns, for each of `groups`, those of the records of its keys.
    pub(super) fn split<'a, G>(&self, groups: impl IntoIterator<Item = G>) -> Vec<Self>
    where
        G: IntoIterator<Item = &'a Key>,
    {
        let by_key: HashMap<&Key, &Ending> = self.0.iter().map(|ending| (&ending.key, ending)).collect();
        let of_group = |group: G| {
            group
                .into_iter()
                .filter_map(|key| by_key.get(key).copied().cloned())
                .collect()
        };
        groups.into_iter().map(|group| Self(of_group(group))).collect()
    }

    /// Adds a record that will be retained for `remaining` from `now` on. `None` is for ever.
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

    /// Returns the records that expire too early for an entry that lives for `lifetime` from `now` on.
    pub(super) fn early(&self, lifetime: Ttl, now: Timestamp) -> impl Iterator<Item = &Ending> {
        self.0.iter().filter(move |ending| ending.is_early(lifetime, now))
    }

    /// Returns whether the lifetimes of no records are known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether one of the records expires within `time` from `now` on.
    pub(super) fn end_within(&self, time: Duration, now: Timestamp) -> bool {
        self.0.iter().any(|ending| ending.ends.saturating_since(now) < time)
    }

    /// Adds `more`.
    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

/// The records that this process has prolonged.
///
/// Many entries with one tag may be stored at the same time. Only one of these operations prolongs its record.
#[derive(Debug, Default)]
pub(super) struct Prolonged(Mutex<HashMap<Key, ProlongedRecord>>);

#[derive(Debug, Clone, Copy)]
struct ProlongedRecord {
    /// The version of the tag.
    tag: Version,
    /// The version of the record, as far as this process knows.
    record: Version,
    /// `None` is never.
    ends: Option<Timestamp>,
}

impl Prolonged {
    pub(super) fn suffices(&self, ending: &Ending, lifetime: Ttl, now: Timestamp) -> bool {
        match self.of(ending) {
            Some(ProlongedRecord { ends: Some(ends), .. }) => {
                let prolonged = Ending { ends, ..ending.clone() };
                !prolonged.is_early(lifetime, now)
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Returns `ending` with the version of the record that this process has written last.
    pub(super) fn latest(&self, ending: &Ending) -> Ending {
        let version = self.of(ending).map_or(ending.version, |prolonged| prolonged.record);
        Ending {
            version,
            ..ending.clone()
        }
    }

    fn of(&self, ending: &Ending) -> Option<ProlongedRecord> {
        let prolonged = self.lock().get(&ending.key).copied();
        prolonged.filter(|prolonged| prolonged.tag == ending.state.version)
    }

    /// Records that the record of `ending` expires at `ends`.
    pub(super) fn note(&self, ending: &Ending, ends: Option<Timestamp>) {
        let mut prolonged = self.lock();
        if prolonged.len() >= MOST {
            prolonged.clear();
        }
        let record = ProlongedRecord {
            tag: ending.state.version,
            record: ending.version,
            ends,
        };
        prolonged.insert(ending.key.clone(), record);
    }

    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, ProlongedRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn after(now: Timestamp, duration: Duration) -> Timestamp {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_add(millis))
}
