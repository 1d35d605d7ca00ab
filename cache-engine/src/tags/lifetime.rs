//! How long the records of tags are kept.
//!
//! A tag's record is written for [`KEPT`]. When an entry is stored that needs it for longer, it is prolonged, so that it
//! outlives the entry. If it ends too early all the same, the entry is a miss.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::{Key, SetOptions, Timestamp, Ttl, Version};

use crate::tags::version::TagVersion;

/// How long a record is kept if no entry needs it for longer, and by how much it outlives the entries that do.
pub(super) const KEPT: Duration = Duration::from_secs(60 * 60);

/// By how much a record outlives an entry at least; if it would be less, the record is prolonged.
const MARGIN: Duration = Duration::from_secs(10 * 60);

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
pub(super) struct Ending {
    pub(super) key: Key,
    pub(super) state: TagVersion,
    /// The version of the record, which every write of it replaces.
    pub(super) version: Version,
    pub(super) ends: Timestamp,
}

impl Ending {
    /// Whether the record ends too early for an entry that lives for `lifetime` from now on.
    pub(super) fn is_early(&self, lifetime: Ttl, now: Timestamp) -> bool {
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

    /// Those that end too early for an entry that lives for `lifetime` from `now` on.
    pub(super) fn early(&self, lifetime: Ttl, now: Timestamp) -> impl Iterator<Item = &Ending> {
        self.0.iter().filter(move |ending| ending.is_early(lifetime, now))
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
    pub(super) fn suffices(&self, ending: &Ending, lifetime: Ttl, now: Timestamp) -> bool {
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

    pub(super) fn note(&self, key: &Key, version: Version, ends: Option<Timestamp>) {
        let mut prolonged = self.lock();
        if prolonged.len() >= MOST {
            prolonged.clear();
        }
        prolonged.insert(key.clone(), (version, ends));
    }

    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Version, Option<Timestamp>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn after(now: Timestamp, duration: Duration) -> Timestamp {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_add(millis))
}
