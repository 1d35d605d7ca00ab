//! One shard: a table and its locks.
//!
//! Readers share the lock of the table, and writers hold it alone. A writer first takes the lock of the writers, so
//! nothing happens between its check of a record and its change: no other write, and no eviction, since only writes
//! evict. `clear` holds that lock throughout, and lets readers in between its batches.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cache_core::{Scope, SetMode, SetOutcome, SharedValue, Value, Version, VersionSource};
use smallvec::SmallVec;

use crate::content::Content;
use crate::deadlines::Due;
use crate::entry::{ENTRY_OVERHEAD, Entry, Queue};
use crate::stats::Stats;
use crate::table::{Lookup, Table};
use crate::time::{Deadline, Moment};

/// The largest lease that is pinned, in bytes.
const PINNED_VALUE: u64 = 1024;
/// Pinned leases take at most one part in this many of either bound.
const PINNED_SHARE: u64 = 8;

/// How many expired records a write frees first. More than it adds, so that expired records cannot pile up.
const FREED_PER_WRITE: usize = 8;
/// How many expired records a write frees before it evicts records that have not expired.
const FREED_BEFORE_EVICTION: usize = 64;
/// How many steps in the index of deadlines are made for each record that may be freed.
const STEPS_PER_FREED: usize = 16;
/// How many entries a write moves to compact the table. More than the one slot that it frees.
const MOVED_PER_WRITE: usize = 2;
/// How many entries `clear` removes or moves before it lets readers in.
const CLEARED_AT_ONCE: usize = 256;

/// The bounds of a shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShardBounds {
    pub(crate) bytes: u64,
    pub(crate) entries: usize,
}

impl ShardBounds {
    fn surcharge(self) -> u64 {
        self.bytes / (self.entries as u64).max(1)
    }

    /// Returns the used share of the bound that is closer.
    fn fullness(self, bytes: u64, entries: usize) -> f64 {
        let bytes = bytes as f64 / self.bytes.max(1) as f64;
        bytes.max(entries as f64 / self.entries.max(1) as f64)
    }
}

#[derive(Debug)]
pub(crate) struct Shard {
    /// Taken before the state is written.
    writers: Mutex<()>,
    state: RwLock<State>,
    bounds: ShardBounds,
}

#[derive(Debug)]
struct State {
    table: Table,
    closed: bool,
    expired: u64,
}

/// A record to be written.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) content: Content,
    pub(crate) deadline: Deadline,
    pub(crate) mode: SetMode,
    pub(crate) lease: bool,
    /// Whether the value is larger than the store allows.
    pub(crate) too_large: bool,
}

/// Why a shard did not carry out an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    TooLarge,
}

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) value: Value,
    pub(crate) version: u64,
    pub(crate) deadline: Deadline,
}

/// Entries that were removed from the table. The caller drops them and notifies the listeners after it has released the
/// lock.
#[derive(Debug, Default)]
pub(crate) struct Released {
    /// Evicted to make room.
    pub(crate) evicted: SmallVec<[Content; 1]>,
    /// Replaced, removed or expired.
    pub(crate) ended: SmallVec<[Content; 1]>,
}

/// The versions of a store's records. All have the same upper half, so a record holds only the lower half.
#[derive(Debug)]
pub(crate) struct Versions {
    source: VersionSource,
    upper: u128,
}

impl Versions {
    pub(crate) fn new() -> Self {
        let source = VersionSource::new();
        let upper = source.next().as_u128() & !u128::from(u64::MAX);
        Self { source, upper }
    }

    pub(crate) fn version(&self, lower: u64) -> Version {
        Version::from_u128(self.upper | u128::from(lower))
    }

    fn next(&self) -> u64 {
        self.source.next().as_u128() as u64
    }
}

impl Shard {
    pub(crate) fn new(bounds: ShardBounds) -> Self {
        Self {
            writers: Mutex::new(()),
            state: RwLock::new(State {
                table: Table::new(bounds.surcharge()),
                closed: false,
                expired: 0,
            }),
            bounds,
        }
    }

    pub(crate) fn get(&self, lookup: Lookup<'_>) -> Option<Found> {
        let state = self.read();
        let entry = state.table.read(lookup)?;
        Some(Found {
            value: entry.content.value(),
            version: entry.version,
            deadline: entry.deadline,
        })
    }

    /// Shows the object of a key to `see`, if there is one, with the lock held. Counts a use if `see` returns true.
    pub(crate) fn view(&self, lookup: Lookup<'_>, see: impl FnOnce(&SharedValue, Deadline) -> bool) {
        let state = self.read();
        let Some(entry) = state.table.find(lookup).map(|slot| state.table.entry(slot)) else {
            return;
        };
        if entry.content.object().is_some_and(|object| see(object, entry.deadline)) {
            state.table.count_use(entry);
        }
    }

    pub(crate) fn set(
        &self,
        lookup: Lookup<'_>,
        write: Write,
        now: Moment,
        versions: &Versions,
        released: &mut Released,
    ) -> Result<SetOutcome, Refusal> {
        let mut state = self.open()?;
        let state = &mut *state;
        state.free_expired(now, FREED_PER_WRITE, released);
        let current = state.table.find(lookup);
        let live = current
            .map(|slot| state.table.entry(slot))
            .filter(|entry| !entry.deadline.is_past(now))
            .map(|entry| versions.version(entry.version));
        let holds = match write.mode {
            SetMode::Always => true,
            SetMode::IfAbsent => live.is_none(),
            SetMode::IfVersion(version) => live == Some(version),
        };
        if !holds {
            return Ok(SetOutcome::Refused);
        }
        let replaced = current.and_then(|slot| state.table.remove(slot));
        let weight = write.content.weight().saturating_add(ENTRY_OVERHEAD);
        if write.too_large || weight > self.bounds.bytes {
            released.ended.extend(replaced.map(|entry| entry.content));
            return Err(Refusal::TooLarge);
        }
        let inherited = replaced.map(|mut entry| {
            let inherited = (entry.queue, entry.uses());
            released.ended.push(entry.content);
            inherited
        });
        self.make_room(state, weight, now, released);
        let (queue, uses) = match inherited {
            _ if write.lease && self.may_be_pinned(&state.table, &write, weight) => (Queue::Pinned, 0),
            // A write counts as a use.
            Some((queue @ (Queue::Cold | Queue::Demoted | Queue::Hot), uses)) => (queue, uses + 1),
            Some((Queue::Pinned, _)) | None => {
                let bytes = state.table.bytes() + weight;
                let fullness = self.bounds.fullness(bytes, state.table.len() + 1);
                (state.table.admit(lookup.hash, fullness), 0)
            }
        };
        let version = versions.next();
        let entry = Entry::new(write.content, version, write.deadline, lookup.hash, queue);
        state.table.insert(entry, uses);
        state.table.compact(MOVED_PER_WRITE);
        Ok(SetOutcome::Stored(versions.version(version)))
    }

    /// Removes the record if there is one and `condition` holds for it. Returns whether it did.
    pub(crate) fn delete(
        &self,
        lookup: Lookup<'_>,
        now: Moment,
        condition: impl FnOnce(&Entry) -> bool,
        released: &mut Released,
    ) -> Result<bool, Refusal> {
        let mut state = self.open()?;
        state.free_expired(now, FREED_PER_WRITE, released);
        let found = state.table.find(lookup).filter(|slot| {
            let entry = state.table.entry(*slot);
            !entry.deadline.is_past(now) && condition(entry)
        });
        let removed = found.and_then(|slot| state.table.remove(slot));
        let deleted = removed.is_some();
        released.ended.extend(removed.map(|entry| entry.content));
        state.table.compact(MOVED_PER_WRITE);
        Ok(deleted)
    }

    /// Removes the records in `scope`, and returns how many there were.
    ///
    /// Writers of this shard wait meanwhile. Readers wait only while a batch of records is removed.
    pub(crate) fn clear(&self, scope: &Scope, now: Moment, released: &mut Released) -> Result<u64, Refusal> {
        let _writers = self.lock_writers();
        let state = self.read();
        if state.closed {
            return Err(Refusal::Closed);
        }
        let start = scope.as_str().as_bytes();
        let slots: Vec<u32> = state
            .table
            .iter()
            .filter_map(|(slot, entry)| entry.content.key().starts_with(start).then_some(slot))
            .collect();
        drop(state);
        let mut cleared = 0;
        // No entry moves to another slot until all have been removed.
        for slots in slots.chunks(CLEARED_AT_ONCE) {
            let mut state = self.write_locked();
            for slot in slots {
                if let Some(entry) = state.table.remove(*slot) {
                    cleared += u64::from(!entry.deadline.is_past(now));
                    released.ended.push(entry.content);
                }
            }
        }
        while self.write_locked().table.compact(CLEARED_AT_ONCE) {}
        Ok(cleared)
    }

    /// Frees up to `limit` expired records. Returns how many, and whether there may be more.
    pub(crate) fn purge(&self, now: Moment, limit: usize, released: &mut Released) -> (usize, bool) {
        let mut state = self.write();
        let freed = state.free_expired(now, limit, released);
        state.table.compact(limit.saturating_mul(2));
        freed
    }

    /// Frees everything and refuses further writes.
    pub(crate) fn close(&self) {
        let mut state = self.write();
        state.closed = true;
        let table = std::mem::replace(&mut state.table, Table::new(self.bounds.surcharge()));
        drop(state);
        drop(table);
    }

    pub(crate) fn earliest_deadline(&self) -> Option<Moment> {
        self.read().table.earliest_deadline()
    }

    /// Adds the figures of this shard to `stats`.
    pub(crate) fn add_to(&self, stats: &mut Stats) {
        let state = self.read();
        stats.entries += state.table.len();
        stats.bytes += state.table.bytes();
        stats.expired += state.expired;
    }

    fn open(&self) -> Result<Writing<'_>, Refusal> {
        let state = self.write();
        if state.closed { Err(Refusal::Closed) } else { Ok(state) }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // A panic leaves a table behind that is whole, so a poisoned lock is as good as another.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> Writing<'_> {
        let writers = self.lock_writers();
        Writing {
            state: self.write_locked(),
            _writers: writers,
        }
    }

    fn lock_writers(&self) -> MutexGuard<'_, ()> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state for a caller that holds the lock of the writers.
    fn write_locked(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether to pin a write: a lease stays until its deadline. Its writer will replace it, but to the
    /// eviction policy it would be a new entry that nobody reads.
    fn may_be_pinned(&self, table: &Table, write: &Write, weight: u64) -> bool {
        let pinned = table.pinned();
        write.content.value_weight() <= PINNED_VALUE
            && pinned.entries < (self.bounds.entries / PINNED_SHARE as usize).max(1)
            && pinned.bytes + weight <= self.bounds.bytes / PINNED_SHARE
    }

    /// Evicts records until an entry of `weight` fits under both bounds.
    fn make_room(&self, state: &mut State, weight: u64, now: Moment, released: &mut Released) {
        let mut purged = false;
        while state.table.bytes() + weight > self.bounds.bytes || state.table.len() >= self.bounds.entries {
            if !purged {
                state.free_expired(now, FREED_BEFORE_EVICTION, released);
                purged = true;
            } else if let Some(entry) = state.table.evict().or_else(|| state.table.evict_pinned()) {
                released.evicted.push(entry.content);
            } else {
                return;
            }
        }
    }
}

/// The locks of a writer.
struct Writing<'a> {
    // Released first.
    state: RwLockWriteGuard<'a, State>,
    _writers: MutexGuard<'a, ()>,
}

impl Deref for Writing<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl State {
    /// Frees up to `limit` records that are past their deadline, and returns how many, and whether there may be more.
    fn free_expired(&mut self, now: Moment, limit: usize, released: &mut Released) -> (usize, bool) {
        let mut freed = 0;
        for _ in 0..limit.saturating_mul(STEPS_PER_FREED) {
            if freed == limit {
                break;
            }
            match self.table.step(now) {
                Due::Past(slot) => {
                    if let Some(entry) = self.table.remove(slot) {
                        released.ended.push(entry.content);
                        freed += 1;
                    }
                }
                Due::Moved => {}
                Due::Nothing => {
                    self.expired += freed as u64;
                    return (freed, false);
                }
            }
        }
        self.expired += freed as u64;
        (freed, true)
    }
}
