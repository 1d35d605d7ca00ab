//! The store behind the handles: the shards, and what they share.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cache_core::{
    Clock, Error, ErrorKind, EvictionListener, Key, Limits, Record, Scope, SetOptions, SetOutcome, Timestamp, Value,
    Version, VersionSource,
};
use parking_lot::RwLock;
use quick_cache::DefaultHashBuilder;
use tokio::task::yield_now;

use crate::builder::MemoryBackendBuilder;
use crate::entry::{Deadline, Lookup, Released, Stored};
use crate::shard::{ENTRY_OVERHEAD, Refusal, Shard, Write};
use crate::stats::Stats;
use crate::sweeper::Sweeper;

/// How many records are freed in one critical section.
pub(crate) const PURGE_BATCH: usize = 256;

pub(crate) struct Store {
    hasher: DefaultHashBuilder,
    shards: Box<[Shard]>,
    clock: Arc<dyn Clock>,
    versions: VersionSource,
    max_value_bytes: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_entries: usize,
    closed: AtomicBool,
    evicted: AtomicU64,
    listeners: RwLock<Vec<EvictionListener>>,
    pub(crate) sweeper: Sweeper,
}

impl Store {
    pub(crate) fn new(builder: MemoryBackendBuilder) -> Self {
        let (count, bounds) = builder.shards_and_bounds();
        let expected_entries = builder.expected_entries() / count;
        Self {
            hasher: DefaultHashBuilder::default(),
            shards: (0..count).map(|_| Shard::new(bounds, expected_entries)).collect(),
            max_value_bytes: max_value_bytes(bounds.entry_weight()),
            max_bytes: bounds.bytes * count as u64,
            max_entries: bounds.entries * count,
            clock: builder.clock,
            versions: VersionSource::new(),
            closed: AtomicBool::new(false),
            evicted: AtomicU64::new(0),
            listeners: RwLock::default(),
            sweeper: Sweeper::new(builder.background_purge),
        }
    }

    fn locate<'a>(&self, key: &'a Key) -> (&Shard, Lookup<'a>) {
        let hash = self.hasher.hash_one(key);
        // The table itself uses the lowest and the highest bits. The number of shards is a power of two.
        let index = (hash >> 32) as usize & (self.shards.len() - 1);
        (&self.shards[index], Lookup { hash, key })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let (shard, lookup) = self.locate(key);
        match shard.get(&lookup) {
            Some(stored) => Ok(stored.into_record(|| self.clock.now())),
            // A closed store is empty, so that only a miss needs to ask.
            None => self.check_open("get").map(|()| None),
        }
    }

    pub(crate) fn set(self: &Arc<Self>, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let now = self.now();
        let deadline = Deadline::after(options.ttl, now);
        let value_bytes = value.weight() as u64;
        // Keys are equal by their text; an identity that differs from it comes on top.
        let key_bytes = match key.identity() {
            identity if std::ptr::eq(identity, key.as_str().as_bytes()) => identity.len(),
            identity => identity.len() + key.as_str().len(),
        };
        let weight = value_bytes
            .saturating_add(key_bytes as u64)
            .saturating_add(ENTRY_OVERHEAD);
        let write = Write {
            value,
            deadline,
            weight,
            mode: options.mode,
            too_large: value_bytes > self.max_value_bytes,
        };
        let (shard, lookup) = self.locate(key);
        let mut released = Released::default();
        let outcome = shard.set(&lookup, write, now, &self.versions, &mut released);
        self.finish(released);
        let outcome = outcome.map_err(|refusal| match refusal {
            Refusal::Closed => closed("set"),
            Refusal::TooLarge => self.too_large(weight),
        })?;
        if let (SetOutcome::Stored(_), Some(deadline)) = (outcome, deadline.as_millis()) {
            self.sweeper.watch(self, deadline);
        }
        Ok(outcome)
    }

    pub(crate) fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.delete_where(key, None, "delete")
    }

    pub(crate) fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.delete_where(key, Some(version), "delete_if")
    }

    fn delete_where(&self, key: &Key, version: Option<Version>, operation: &'static str) -> Result<bool, Error> {
        let (shard, lookup) = self.locate(key);
        let mut released = Released::default();
        let condition = |stored: &Stored| version.is_none_or(|version| stored.version == version);
        let deleted = shard.delete(&lookup, self.now(), condition, &mut released);
        self.finish(released);
        deleted.map_err(|_| closed(operation))
    }

    pub(crate) async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.check_open("clear")?;
        let mut cleared = 0;
        for shard in &self.shards {
            let mut released = Released::default();
            let count = shard.clear(scope, self.now(), &mut released);
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
        self.listeners.write().clear();
        self.sweeper.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn check_open(&self, operation: &'static str) -> Result<(), Error> {
        if self.is_closed() {
            Err(closed(operation))
        } else {
            Ok(())
        }
    }

    /// Frees one batch of the expired records of the shard at `index`; `None` if there is no such shard, otherwise how
    /// many were freed.
    pub(crate) fn purge_batch(&self, index: usize) -> Option<usize> {
        let shard = self.shards.get(index)?;
        let mut released = Released::default();
        let freed = shard.purge(self.now(), PURGE_BATCH, &mut released);
        self.finish(released);
        Some(freed)
    }

    pub(crate) fn purge_expired(&self) -> usize {
        let mut total = 0;
        for index in 0..self.shards.len() {
            while let Some(freed @ 1..) = self.purge_batch(index) {
                total += freed;
            }
        }
        total
    }

    pub(crate) fn earliest_deadline(&self) -> Option<u64> {
        self.shards.iter().filter_map(Shard::earliest_deadline).min()
    }

    pub(crate) fn on_eviction(&self, listener: EvictionListener) {
        if !self.is_closed() {
            self.listeners.write().push(listener);
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

    /// Tells the listeners of what was evicted, and drops what has left the table, outside all locks.
    fn finish(&self, released: Released) {
        if !released.evicted.is_empty() {
            self.evicted.fetch_add(released.evicted.len() as u64, Ordering::Relaxed);
            let listeners = self.listeners.read();
            for (key, _) in &released.evicted {
                for listener in &*listeners {
                    listener(key.key());
                }
            }
        }
        drop(released);
    }

    fn too_large(&self, weight: u64) -> Error {
        let message = format!(
            "the entry counts for {weight} bytes, and values of at most {} bytes are taken; raise max_bytes or lower the \
             number of shards",
            self.max_value_bytes
        );
        Error::new(ErrorKind::TooLarge, message)
            .with_backend(NAME)
            .with_operation("set")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The background task finds that the store is gone, and ends.
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

/// The largest value of an entry that may weigh `entry_weight`: what is left beside a key of 4 KiB, or beside one that
/// takes a quarter where the entries are small.
fn max_value_bytes(entry_weight: u64) -> u64 {
    let room = entry_weight.saturating_sub(ENTRY_OVERHEAD);
    room - (room / 4).min(4096)
}
