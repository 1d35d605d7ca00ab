//! One shard: a quick_cache table, and a lock under which everything that changes the table happens.
//!
//! Readers take only the table's own read lock. Writers take the shard's lock first, so that between looking at a
//! record and writing it nothing can come in: no other writer, and no eviction either, because only writers evict.

use std::collections::BTreeMap;

use cache_core::{Key, Scope, SetMode, SetOutcome, Timestamp, Value, VersionSource};
use parking_lot::{Mutex, MutexGuard};
use quick_cache::OptionsBuilder;
use quick_cache::sync::Cache;

use crate::deadlines::Deadlines;
use crate::entry::{Deadline, EvictionPolicy, Lookup, PassThroughBuilder, Released, Stored, StoredKey, TableWeight};
use crate::stats::Stats;

/// What each entry counts for beside its key and its value: its slot in the table with the spare room of the table,
/// the key's and the index's allocations, and the memory of keys that were evicted lately.
pub(crate) const ENTRY_OVERHEAD: u64 = 320;

/// The share of a shard that one entry may take. quick_cache admits nothing larger than its hot section, and this is
/// its own choice of that section's size.
const HOT_SHARE: f64 = 0.97;

/// A record that is pinned weighs no more beside its key and [`ENTRY_OVERHEAD`].
const PINNED_VALUE: u64 = 1024;
/// And it lives no longer than this, in milliseconds.
const PINNED_TTL: u64 = 60_000;
/// The most records that are pinned in one shard: each of them is looked at again by each eviction.
const MOST_PINNED: usize = 256;
/// The share of either bound that pinned records may take.
const PINNED_SHARE: u64 = 8;

/// How many expired records a write frees before its own work: more than it adds, so that the expired ones cannot
/// pile up under writes.
const FREED_PER_WRITE: usize = 8;
/// How many it frees before it gives up records that have not expired.
const FREED_BEFORE_EVICTION: usize = 64;

/// How much a shard may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShardBounds {
    pub(crate) bytes: u64,
    pub(crate) entries: usize,
}

impl ShardBounds {
    /// The most that one entry may weigh.
    pub(crate) fn entry_weight(self) -> u64 {
        // As quick_cache computes the size of its hot section.
        ((self.table_weight() as f64 * (HOT_SHARE / 2.0)) as u64).saturating_sub(self.surcharge())
    }

    /// What the table is told to hold: the bytes, and as much again for the number of entries. Both bounds are kept
    /// here, before the table sees a record, so that it never reaches its own.
    fn table_weight(self) -> u64 {
        self.bytes.saturating_mul(2)
    }

    /// See [`TableWeight`]. Where there are only a few entries, the policy matters little and a large surcharge would
    /// be in the way of large values.
    fn surcharge(self) -> u64 {
        self.bytes / (self.entries as u64).max(32)
    }
}

#[derive(Debug)]
pub(crate) struct Shard {
    table: Cache<StoredKey, Stored, TableWeight, PassThroughBuilder, EvictionPolicy>,
    state: Mutex<State>,
    bounds: ShardBounds,
}

#[derive(Debug)]
struct State {
    closed: bool,
    entries: usize,
    bytes: u64,
    expired: u64,
    deadlines: Deadlines,
    /// By version, so the oldest first.
    pinned: BTreeMap<u128, StoredKey>,
    pinned_bytes: u64,
    ballast: StoredKey,
}

impl State {
    fn remember(&mut self, key: &StoredKey, stored: &Stored) {
        self.entries += 1;
        self.bytes += stored.weight;
        self.deadlines.insert(key, stored);
        if stored.pinned {
            self.pinned.insert(stored.version.as_u128(), key.clone());
            self.pinned_bytes += stored.weight;
        }
    }

    fn forget(&mut self, stored: &Stored) {
        self.entries -= 1;
        self.bytes -= stored.weight;
        self.deadlines.remove(stored);
        if stored.pinned {
            self.pinned.remove(&stored.version.as_u128());
            self.pinned_bytes -= stored.weight;
        }
    }
}

/// A value on its way into the shard.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) value: Value,
    pub(crate) deadline: Deadline,
    pub(crate) weight: u64,
    pub(crate) mode: SetMode,
    /// Whether the store takes it at all.
    pub(crate) too_large: bool,
}

/// Why a shard did not do as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    TooLarge,
}

impl Shard {
    pub(crate) fn new(bounds: ShardBounds, expected_entries: usize) -> Self {
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(expected_entries)
            .weight_capacity(bounds.table_weight())
            .hot_allocation(HOT_SHARE / 2.0)
            .build();
        #[expect(
            clippy::expect_used,
            reason = "fails only without the two capacities, and both are set above"
        )]
        let options = options.expect("both capacities are set");
        let weighter = TableWeight {
            surcharge: bounds.surcharge(),
        };
        Self {
            table: Cache::with_options(options, weighter, PassThroughBuilder::default(), EvictionPolicy),
            state: Mutex::new(State {
                closed: false,
                entries: 0,
                bytes: 0,
                expired: 0,
                deadlines: Deadlines::default(),
                pinned: BTreeMap::new(),
                pinned_bytes: 0,
                ballast: StoredKey::ballast(),
            }),
            bounds,
        }
    }

    pub(crate) fn get(&self, lookup: &Lookup<'_>) -> Option<Stored> {
        self.table.get(lookup)
    }

    pub(crate) fn set(
        &self,
        lookup: &Lookup<'_>,
        write: Write,
        now: Timestamp,
        versions: &VersionSource,
        released: &mut Released,
    ) -> Result<SetOutcome, Refusal> {
        let mut state = self.open()?;
        self.free_expired(&mut state, now, FREED_PER_WRITE, released);
        let current = self.table.peek(lookup);
        let live = current
            .as_ref()
            .filter(|stored| stored.is_live(now))
            .map(|stored| stored.version);
        let holds = match write.mode {
            SetMode::Always => true,
            SetMode::IfAbsent => live.is_none(),
            SetMode::IfVersion(version) => live == Some(version),
        };
        if !holds {
            return Ok(SetOutcome::Refused);
        }
        if write.too_large || write.weight > self.bounds.entry_weight() {
            self.remove(&mut state, lookup, released);
            return Err(Refusal::TooLarge);
        }
        let pinned = self.is_to_be_pinned(&state, &write, current.as_ref(), now);
        let stored = Stored {
            pinned,
            value: write.value,
            version: versions.next(),
            deadline: write.deadline,
            weight: write.weight,
        };
        let version = stored.version;
        let replaced = current.map(|stored| stored.weight);
        self.make_room(&mut state, lookup, replaced, stored.weight, now, released);
        self.insert(&mut state, StoredKey::new(lookup), stored, released);
        Ok(SetOutcome::Stored(version))
    }

    /// Removes the record and tells whether there was one that `condition` holds for.
    pub(crate) fn delete(
        &self,
        lookup: &Lookup<'_>,
        now: Timestamp,
        condition: impl FnOnce(&Stored) -> bool,
        released: &mut Released,
    ) -> Result<bool, Refusal> {
        let mut state = self.open()?;
        self.free_expired(&mut state, now, FREED_PER_WRITE, released);
        let holds = self
            .table
            .peek(lookup)
            .is_some_and(|stored| stored.is_live(now) && condition(&stored));
        if holds {
            self.remove(&mut state, lookup, released);
        }
        Ok(holds)
    }

    /// Removes the records of `scope` and tells how many there were.
    ///
    /// Writers of this shard wait meanwhile; readers do not, as the table is read entry by entry.
    pub(crate) fn clear(&self, scope: &Scope, now: Timestamp, released: &mut Released) -> Result<u64, Refusal> {
        let mut state = self.open()?;
        let keys: Vec<StoredKey> = self
            .table
            .iter()
            .filter_map(|(key, _)| scope.contains(key.key()).then_some(key))
            .collect();
        let mut cleared = 0;
        for key in keys {
            if let Some((key, stored)) = self.table.remove(&key) {
                state.forget(&stored);
                cleared += u64::from(stored.is_live(now));
                released.ended.push((key, stored));
            }
        }
        Ok(cleared)
    }

    /// Frees up to `limit` records that are past their deadline and tells how many.
    pub(crate) fn purge(&self, now: Timestamp, limit: usize, released: &mut Released) -> usize {
        self.free_expired(&mut self.state.lock(), now, limit, released)
    }

    /// Frees everything and takes nothing more.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.entries = 0;
        state.bytes = 0;
        state.deadlines.clear();
        state.pinned.clear();
        state.pinned_bytes = 0;
        self.table.clear();
    }

    pub(crate) fn earliest_deadline(&self) -> Option<u64> {
        self.state.lock().deadlines.earliest()
    }

    /// Adds what this shard holds and has freed.
    pub(crate) fn add_to(&self, stats: &mut Stats) {
        let state = self.state.lock();
        stats.entries += state.entries;
        stats.bytes += state.bytes;
        stats.expired += state.expired;
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let state = self.state.lock();
        if state.closed { Err(Refusal::Closed) } else { Ok(state) }
    }

    fn free_expired(&self, state: &mut State, now: Timestamp, limit: usize, released: &mut Released) -> usize {
        let mut freed = 0;
        while freed < limit
            && let Some(key) = state.deadlines.pop_past(now)
        {
            if let Some((key, stored)) = self.table.remove(&key) {
                state.forget(&stored);
                released.ended.push((key, stored));
                state.expired += 1;
                freed += 1;
            }
        }
        freed
    }

    /// Whether the record stays until its deadline, whatever else is written.
    ///
    /// That is for leases: small records with a short life whose writer comes back for them, while the table sees
    /// nothing but a newcomer that nobody reads. They are known by `IfAbsent`, and when they are renewed by their
    /// weight, which a value that takes their place hardly ever has.
    fn is_to_be_pinned(&self, state: &State, write: &Write, current: Option<&Stored>, now: Timestamp) -> bool {
        let leased = match write.mode {
            SetMode::Always => false,
            SetMode::IfAbsent => true,
            SetMode::IfVersion(_) => current.is_some_and(|stored| stored.pinned && stored.weight == write.weight),
        };
        let most = (self.bounds.entries / PINNED_SHARE as usize).clamp(1, MOST_PINNED);
        leased
            && write.value.weight() as u64 <= PINNED_VALUE
            && write
                .deadline
                .as_millis()
                .is_some_and(|deadline| deadline <= now.as_millis().saturating_add(PINNED_TTL))
            && state.pinned.len() < most + usize::from(current.is_some_and(|stored| stored.pinned))
            && state.pinned_bytes + write.weight <= self.bounds.bytes / PINNED_SHARE
    }

    fn remove(&self, state: &mut State, lookup: &Lookup<'_>, released: &mut Released) {
        if let Some((key, stored)) = self.table.remove(lookup) {
            state.forget(&stored);
            released.ended.push((key, stored));
        }
    }

    fn insert(&self, state: &mut State, key: StoredKey, stored: Stored, released: &mut Released) {
        state.remember(&key, &stored);
        // Room has been made, so all that this can push out is the record that it replaces.
        let before = released.evicted.len();
        self.table.insert_with_lifecycle(key, stored, released);
        for (key, stored) in released.evicted.drain(before..) {
            state.forget(&stored);
            released.ended.push((key, stored));
        }
    }

    /// Gives up records until an entry of `weight`, in the place of one of the weight `replaced`, fits under both
    /// bounds.
    ///
    /// The table could evict by itself, but it knows only of one bound, and where the key was evicted lately or is
    /// still there it evicts after the write, which can hit the very record that was written.
    fn make_room(
        &self,
        state: &mut State,
        lookup: &Lookup<'_>,
        mut replaced: Option<u64>,
        weight: u64,
        now: Timestamp,
        released: &mut Released,
    ) {
        let mut purged = false;
        loop {
            let bytes = state.bytes - replaced.unwrap_or_default() + weight;
            let entries = state.entries + usize::from(replaced.is_none());
            let lacking = bytes.saturating_sub(self.bounds.bytes);
            let lacking = lacking.max(u64::from(entries > self.bounds.entries));
            if lacking == 0 {
                return;
            }
            if !purged {
                self.free_expired(state, now, FREED_BEFORE_EVICTION, released);
                purged = true;
            } else if !self.evict(state, lookup.key, lacking, released) && !self.evict_pinned(state, released) {
                return;
            }
            replaced = self.table.peek(lookup).map(|stored| stored.weight);
        }
    }

    /// Has the table choose one record or more to give up, about `weight` together: a ballast, as heavy as the table's
    /// free room and `weight` on top of it, goes in and out again. Tells whether there was any.
    fn evict(&self, state: &mut State, written: &Key, weight: u64, released: &mut Released) -> bool {
        let before = released.evicted.len();
        let held = state.bytes + state.entries as u64 * self.bounds.surcharge();
        let ballast = Stored::ballast(self.bounds.table_weight() - held + weight);
        self.table
            .insert_with_lifecycle(state.ballast.clone(), ballast, released);
        self.table.remove(&state.ballast);
        let mut freed = false;
        for (_, stored) in &released.evicted[before..] {
            state.forget(stored);
            freed = true;
        }
        // A record that is about to be written anew is replaced, not evicted.
        if let Some(index) = released.evicted[before..]
            .iter()
            .position(|(key, _)| key.key() == written)
        {
            let replaced = released.evicted.remove(before + index);
            released.ended.push(replaced);
        }
        freed
    }

    /// Gives up the oldest pinned record: nothing else is left.
    fn evict_pinned(&self, state: &mut State, released: &mut Released) -> bool {
        let Some((_, key)) = state.pinned.pop_first() else {
            return false;
        };
        if let Some((key, stored)) = self.table.remove(&key) {
            state.forget(&stored);
            released.evicted.push((key, stored));
        }
        true
    }
}
