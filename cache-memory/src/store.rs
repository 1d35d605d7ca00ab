//! The store behind the handles: the shards and their common state.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cache_core::{
    Error, ErrorKind, EvictionListener, Key, Limits, Record, Scope, SetOptions, SetOutcome, Value, Version, View,
    allocated,
};
use foldhash::fast::RandomState;
use tokio::task::yield_now;

use crate::content::Content;
use crate::entry::{ENTRY_OVERHEAD, Entry};
use crate::shard::{Refusal, Released, Shard, ShardBounds, Versions, Write};
use crate::stats::Stats;
use crate::sweeper::{Sweep, Sweeper};
use crate::table::Lookup;
use crate::time::{Deadline, Moment, Timer};

/// The most that a value takes beyond its length. Allocators round large values up to whole pages.
const BESIDE_SMALL_VALUE: u64 = 96;
const BESIDE_LARGE_VALUE: u64 = 4096 + BESIDE_SMALL_VALUE;
/// From here on, values are large.
const LARGE_VALUE: u64 = 128 * 1024;
/// How many records are freed under one lock.
const PURGE_BATCH: usize = 256;

pub(crate) struct Store {
    hasher: RandomState,
    shards: Box<[Shard]>,
    timer: Timer,
    versions: Versions,
    max_value_bytes: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_entries: usize,
    closed: AtomicBool,
    evicted: AtomicU64,
    listeners: RwLock<Vec<EvictionListener>>,
    sweeper: Sweeper,
}

impl Store {
    /// Makes a store of `count` shards, which must be a power of two.
    pub(crate) fn new(count: usize, bounds: ShardBounds, timer: Timer, sweeper: Sweeper) -> Self {
        Self {
            hasher: RandomState::default(),
            shards: (0..count).map(|_| Shard::new(bounds)).collect(),
            timer,
            versions: Versions::new(),
            max_value_bytes: max_value_bytes(bounds.bytes),
            max_bytes: bounds.bytes * count as u64,
            max_entries: bounds.entries * count,
            closed: AtomicBool::new(false),
            evicted: AtomicU64::new(0),
            listeners: RwLock::default(),
            sweeper,
        }
    }

    fn locate<'a>(&self, key: &'a Key) -> (&Shard, Lookup<'a>) {
        let key = key.as_str();
        let hash = self.hasher.hash_one(key);
        // The table uses the lower half of the hash. The number of shards is a power of two.
        let index = (hash >> 32) as usize & (self.shards.len() - 1);
        let hash = hash as u32;
        (&self.shards[index], Lookup { hash, key })
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let (shard, lookup) = self.locate(key);
        let Some(found) = shard.get(lookup) else {
            // A closed store is empty, so only a miss needs to check.
            return self.check_open("get").map(|()| None);
        };
        let remaining = match found.deadline.moment() {
            // The clock is read only if the record has a deadline.
            Some(_) => match found.deadline.left(self.timer.now()) {
                None => return Ok(None),
                left => left,
            },
            None => None,
        };
        let version = self.versions.version(found.version);
        Ok(Some(Record::new(found.value, version, remaining)))
    }

    pub(crate) fn view(&self, key: &Key, see: &mut dyn FnMut(View<'_>) -> bool) {
        let (shard, lookup) = self.locate(key);
        let glance = self.timer.glance();
        shard.view(lookup, |object, deadline| {
            let lifetime = glance.lifetime(deadline);
            let outlives = |time| lifetime.as_ref().map(|lifetime| lifetime.outlives(time));
            outlives(Duration::ZERO) != Some(false) && see(View::new(object, &outlives))
        });
    }

    pub(crate) fn set(self: &Arc<Self>, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let now = self.timer.now();
        let deadline = Deadline::after(options.ttl, now);
        let too_large = value.weight() as u64 > self.max_value_bytes;
        let content = Content::new(key.as_str(), value);
        let weight = content.weight().saturating_add(ENTRY_OVERHEAD);
        let write = Write {
            content,
            deadline,
            mode: options.mode,
            lease: options.lease,
            too_large,
        };
        let (shard, lookup) = self.locate(key);
        let mut released = Released::default();
        let outcome = shard.set(lookup, write, now, &self.versions, &mut released);
        self.finish(released);
        let outcome = outcome.map_err(|refusal| match refusal {
            Refusal::Closed => closed("set"),
            Refusal::TooLarge => self.too_large(weight),
        })?;
        if let (SetOutcome::Stored(_), Some(deadline)) = (outcome, deadline.moment()) {
            self.sweeper.watch(self, deadline);
        }
        Ok(outcome)
    }

    pub(crate) fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.delete_where(key, "delete", |_| true)
    }

    pub(crate) fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.delete_where(key, "delete_if", |entry| {
            self.versions.version(entry.version) == version
        })
    }

    fn delete_where(
        &self,
        key: &Key,
        operation: &'static str,
        condition: impl FnOnce(&Entry) -> bool,
    ) -> Result<bool, Error> {
        let (shard, lookup) = self.locate(key);
        let mut released = Released::default();
        let deleted = shard.delete(lookup, self.timer.now(), condition, &mut released);
        self.finish(released);
        deleted.map_err(|_| closed(operation))
    }

    pub(crate) async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.check_open("clear")?;
        let mut cleared = 0;
        for shard in &self.shards {
            let mut released = Released::default();
            let count = shard.clear(scope, self.timer.now(), &mut released);
            self.finish(released);
            cleared += count.map_err(|_| closed("clear"))?;
            yield_now().await;
        }
        Ok(cleared)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for shard in &self.shards {
            shard.close();
        }
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.sweeper.wake();
    }

    pub(crate) fn check_open(&self, operation: &'static str) -> Result<(), Error> {
        if self.is_closed() {
            Err(closed(operation))
        } else {
            Ok(())
        }
    }

    /// Frees one batch of expired records in the shard at `index`. Returns how many, and whether there may be more, or
    /// `None` if there is no such shard.
    fn purge_batch(&self, index: usize) -> Option<(usize, bool)> {
        let shard = self.shards.get(index)?;
        let mut released = Released::default();
        let purged = shard.purge(self.timer.now(), PURGE_BATCH, &mut released);
        self.finish(released);
        Some(purged)
    }

    pub(crate) fn purge_expired(&self) -> usize {
        let mut total = 0;
        for index in 0..self.shards.len() {
            while let Some((freed, more)) = self.purge_batch(index) {
                total += freed;
                if !more {
                    break;
                }
            }
        }
        total
    }

    pub(crate) fn on_eviction(&self, listener: EvictionListener) {
        if !self.is_closed() {
            self.listeners
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .push(listener);
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::default().with_value_bytes(usize::try_from(self.max_value_bytes).unwrap_or(usize::MAX))
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            entries: 0,
            bytes: 0,
            evicted: self.evicted.load(Ordering::Relaxed),
            expired: 0,
        };
        for shard in &self.shards {
            shard.add_to(&mut stats);
        }
        stats
    }

    /// Notifies the listeners of evictions, and drops the removed entries. Called without a lock.
    fn finish(&self, released: Released) {
        if !released.evicted.is_empty() {
            self.evicted.fetch_add(released.evicted.len() as u64, Ordering::Relaxed);
            let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
            if !listeners.is_empty() {
                for content in &released.evicted {
                    let key = std::str::from_utf8(content.key()).ok().and_then(Key::parse);
                    for listener in &*listeners {
                        key.as_ref().map(listener);
                    }
                }
            }
        }
        drop(released);
    }

    fn too_large(&self, weight: u64) -> Error {
        let message = format!(
            "the entry counts for {weight} bytes, and values may have at most {} bytes; raise max_bytes or lower the \
             number of shards",
            self.max_value_bytes
        );
        Error::new(ErrorKind::TooLarge, message)
            .with_backend(NAME)
            .with_operation("set")
    }
}

impl Sweep for Store {
    fn sweeper(&self) -> &Sweeper {
        &self.sweeper
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn now(&self) -> Moment {
        self.timer.now()
    }

    fn earliest_deadline(&self) -> Option<Moment> {
        self.shards.iter().filter_map(Shard::earliest_deadline).min()
    }

    fn sweep(&self, index: usize) -> Option<bool> {
        self.purge_batch(index).map(|(_, more)| more)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The background task notices that the store is gone, and ends.
        self.sweeper.wake();
    }
}

pub(crate) const NAME: &str = "memory";

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, "the backend was closed")
        .with_retryable(false)
        .with_backend(NAME)
        .with_operation(operation)
}

/// Returns the largest value in a shard of `bytes`: the rest beside a key of 4 KiB, or of a quarter of the shard if
/// that is less.
fn max_value_bytes(bytes: u64) -> u64 {
    let room = bytes.saturating_sub(ENTRY_OVERHEAD);
    let key = allocated((room / 4).min(4096) as usize) as u64;
    let room = room.saturating_sub(key);
    room.saturating_sub(if room < LARGE_VALUE {
        BESIDE_SMALL_VALUE
    } else {
        BESIDE_LARGE_VALUE
    })
}
