//! One shard: a quick_cache table, and a lock under which everything that changes the table happens.
//!
//! Readers take only the table's own read lock. Writers take the shard's lock first, so that between looking at a
//! record and writing it nothing can come in: no other writer, and no eviction either, because only writers evict.

use cache_core::{Key, Scope, SetMode, SetOutcome, Timestamp, Value, VersionSource};
use parking_lot::{Mutex, MutexGuard};
use quick_cache::OptionsBuilder;
use quick_cache::sync::Cache;

use crate::deadlines::Deadlines;
use crate::entry::{Deadline, EvictionPolicy, Lookup, PassThroughBuilder, Released, Stored, StoredKey, StoredWeight};
use crate::stats::Stats;

/// What each entry counts for beside its key and its value: its slot in the table with the spare room of the table,
/// the key's and the index's allocations, and the memory of keys that were evicted lately.
pub(crate) const ENTRY_OVERHEAD: u64 = 320;

/// The share of a shard that one entry may take. quick_cache admits nothing larger than its hot section.
const HOT_SHARE: f64 = 0.97;

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
        (self.bytes as f64 * HOT_SHARE) as u64
    }
}

#[derive(Debug)]
pub(crate) struct Shard {
    table: Cache<StoredKey, Stored, StoredWeight, PassThroughBuilder, EvictionPolicy>,
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
    ballast: StoredKey,
}

impl State {
    fn remember(&mut self, key: &StoredKey, stored: &Stored) {
        self.entries += 1;
        self.bytes += stored.weight;
        self.deadlines.insert(key, stored);
    }

    fn forget(&mut self, stored: &Stored) {
        self.entries -= 1;
        self.bytes -= stored.weight;
        self.deadlines.remove(stored);
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
            .weight_capacity(bounds.bytes)
            .hot_allocation(HOT_SHARE)
            .build();
        #[expect(
            clippy::expect_used,
            reason = "fails only without the two capacities, and both are set above"
        )]
        let options = options.expect("both capacities are set");
        Self {
            table: Cache::with_options(options, StoredWeight, PassThroughBuilder::default(), EvictionPolicy),
            state: Mutex::new(State {
                closed: false,
                entries: 0,
                bytes: 0,
                expired: 0,
                deadlines: Deadlines::default(),
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
        let stored = Stored {
            value: write.value,
            version: versions.next(),
            deadline: write.deadline,
            weight: write.weight,
        };
        let version = stored.version;
        let replaced = current.map(|stored| stored.weight);
        self.make_room(&mut state, lookup, replaced, stored.weight, now, released);
        self.insert(&mut state, StoredKey::new(lookup), stored, released);
        if write.mode == SetMode::IfAbsent {
            // Who writes this way comes back for the record: most of all a lease, whose load still runs. It counts as
            // used as often as the table counts, so that it outlasts the newcomers of a full cache.
            for _ in 0..2 {
                self.table.get(lookup);
            }
        }
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
            } else if !self.evict(state, lookup.key, lacking, released) {
                return;
            }
            replaced = self.table.peek(lookup).map(|stored| stored.weight);
        }
    }

    /// Has the table choose records to give up, of at least `bytes` together: a ballast, as heavy as the free room and
    /// `bytes` on top of it, goes in and out again.
    fn evict(&self, state: &mut State, written: &Key, bytes: u64, released: &mut Released) -> bool {
        let before = released.evicted.len();
        let free = self.bounds.bytes - state.bytes;
        self.table
            .insert_with_lifecycle(state.ballast.clone(), Stored::ballast(free + bytes), released);
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
}
