//! The keys whose lease may be one that nobody holds, because a call of this process that wrote, replaced or removed it
//! failed.
//!
//! A write may be carried out although its answer is lost, even much later: a server that was frozen reads what it was sent.
//! And a store that takes no more writes keeps the leases that it has. A caller that waited for such a lease would wait until
//! it expires. So the next load of this process that finds a lease there does not wait for it, even if the key was stored
//! meanwhile, since the write may be carried out after that. If it is the lease of another process after all, the cluster
//! loads the key once too often.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::{Error, ErrorKind, Key};

use crate::store::is_left_alone;

/// The number of keys that are remembered. A key takes the place of another one by chance. An outage leaves only a few: those
/// of the calls that the breaker lets through, and of the loads that were running.
const SLOTS: usize = 1024;

/// Remembers keys by their hashes.
#[derive(Debug)]
pub(super) struct Doubts {
    hasher: RandomState,
    /// Zero is none.
    slots: Box<[AtomicU64]>,
}

impl Default for Doubts {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Doubts {
    /// Remembers the key.
    pub(super) fn note(&self, key: &Key) {
        let (slot, hash) = self.slot(key);
        slot.store(hash, Ordering::Relaxed);
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

    /// Forgets the key. Returns whether it was remembered.
    pub(super) fn take(&self, key: &Key) -> bool {
        let (slot, hash) = self.slot(key);
        let taken = slot.compare_exchange(hash, 0, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok()
    }

    fn slot(&self, key: &Key) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(key.as_str());
        let slot = usize::try_from(hash % SLOTS as u64).unwrap_or(0);
        // The lowest bit tells a hash from none.
        (&self.slots[slot], hash | 1)
    }
}
