//! The keys that are probably fresh in the store, so that a read of them need not be prepared for a load.
//!
//! A read that may acquire a lease sends the lease along. That is wasted on a key that is fresh. A key that this process
//! saw fresh is therefore read plainly until its freshness ends. If the value was removed or replaced meanwhile, its load
//! takes one call more.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::Key;
use tokio::time::Instant;

/// The number of keys that are remembered. A key takes the place of another one by chance.
const SLOTS: usize = 4096;

/// The units in which times are counted, in milliseconds: all of them fit into 32 bits for eight years.
const UNIT: u64 = 64;

/// Remembers by their hashes until when keys are fresh.
#[derive(Debug)]
pub(crate) struct FreshKeys {
    hasher: RandomState,
    start: Instant,
    /// The upper half of a hash, and the time in units from the start.
    slots: Box<[AtomicU64]>,
}

impl Default for FreshKeys {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            start: Instant::now(),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl FreshKeys {
    /// Remembers that the value of a key is fresh for this time. `None` is for ever.
    pub(crate) fn note(&self, key: &Key, fresh_for: Option<Duration>) {
        let (slot, tag) = self.slot(key);
        // Rounded down, so that a read at the end of freshness is prepared for a load.
        let until = fresh_for.map_or(u64::MAX, |fresh_for| {
            units(self.start.elapsed().saturating_add(fresh_for))
        });
        slot.store(tag | until.min(u64::from(u32::MAX)), Ordering::Relaxed);
    }

    /// Forgets a key that was not fresh.
    pub(crate) fn forget(&self, key: &Key) {
        self.slot(key).0.store(0, Ordering::Relaxed);
    }

    /// Returns whether the value of a key is probably fresh.
    pub(crate) fn expects(&self, key: &Key) -> bool {
        let (slot, tag) = self.slot(key);
        let found = slot.load(Ordering::Relaxed);
        found & !u64::from(u32::MAX) == tag && units(self.start.elapsed()) < found & u64::from(u32::MAX)
    }

    fn slot(&self, key: &Key) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(key.as_str());
        let slot = usize::try_from(hash % SLOTS as u64).unwrap_or(0);
        (&self.slots[slot], hash & !u64::from(u32::MAX))
    }
}

fn units(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX) / UNIT
}
