//! The keys whose lease may be one that nobody holds, because a call of this process that wrote, replaced or removed it
//! failed.
//!
//! A write may be carried out although its answer is lost, even much later: a server that was frozen reads what it was sent.
//! And a store that takes no more writes keeps the leases that it has. A caller that waited for such a lease would wait until
//! it expires. So the next load of this process that finds a lease there does not wait for it, even if the key was stored
//! meanwhile, since the write may be carried out after that. If it is the lease of another process after all, the cluster
//! loads the key once too often. A doubt ends after some lease times, when an orphan has expired too.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::{Error, ErrorKind, Key};
use tokio::time::Instant;

use crate::store::is_left_alone;

/// The number of keys that are remembered. A key takes the place of another one by chance. An outage leaves only a few: those
/// of the calls that the breaker lets through, and of the loads that were running.
const SLOTS: usize = 1024;

/// Remembers keys by their hashes.
#[derive(Debug)]
pub(super) struct Doubts {
    hasher: RandomState,
    slots: Box<[Slot]>,
    began: Instant,
}

#[derive(Debug, Default)]
struct Slot {
    /// Zero is none.
    hash: AtomicU64,
    /// When the key was noted: milliseconds since the first one could be.
    noted: AtomicU64,
}

impl Default for Doubts {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            began: Instant::now(),
        }
    }
}

impl Doubts {
    /// Remembers the key.
    pub(super) fn note(&self, key: &Key) {
        let (slot, hash) = self.slot(key);
        // If another key is noted at the same time, one of the two is forgotten, or remembered for a little longer.
        slot.noted.store(self.now(), Ordering::Relaxed);
        slot.hash.store(hash, Ordering::Relaxed);
    }

    /// Remembers the key if a write of a lease that failed with `error` may have been carried out.
    pub(super) fn note_write(&self, key: &Key, error: &Error) {
        let may_be_there = matches!(
            error.kind(),
            ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Other
        );
        if may_be_there && !is_left_alone(error) {
            self.note(key);
        }
    }

    /// Forgets the key. Returns whether it was noted within this time.
    pub(super) fn take(&self, key: &Key, within: Duration) -> bool {
        let (slot, hash) = self.slot(key);
        let age = self.now().saturating_sub(slot.noted.load(Ordering::Relaxed));
        let taken = slot
            .hash
            .compare_exchange(hash, 0, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok() && Duration::from_millis(age) <= within
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn slot(&self, key: &Key) -> (&Slot, u64) {
        let hash = self.hasher.hash_one(key.as_str());
        let slot = usize::try_from(hash % SLOTS as u64).unwrap_or(0);
        // The lowest bit tells a hash from none.
        (&self.slots[slot], hash | 1)
    }
}
