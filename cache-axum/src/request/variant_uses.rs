//! Which variants were used last, so that the least recently used variant of a URL makes room for another.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use cache_engine::cache_core::Key;
use tokio::sync::{Mutex, MutexGuard};

/// How many variants can be remembered. One more replaces another.
const SLOTS: usize = 4096;

/// How many URLs can count their uses independently of each other.
const COUNTERS: usize = 64;

/// How many URLs can have their variant lists changed at the same time in this process.
const TURNS: usize = 16;

/// The upper half of a slot is a fingerprint of the variant, and the lower half its last use.
const USE: u64 = u32::MAX as u64;

/// The last uses of variants in this process, ordered within each URL.
///
/// A use is recorded on every hit, so it costs a few atomic loads, and writes only if another variant was used in
/// between. If an entry is lost or collides with another, a variant looks less recently used than it is.
#[derive(Debug)]
pub(crate) struct VariantUses {
    slots: Box<[AtomicU64]>,
    counters: Box<[AtomicU64]>,
    turns: Box<[Mutex<()>]>,
    hasher: RandomState,
}

/// When a variant was last used, comparable with the other variants of its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LastUse(u64);

impl Default for VariantUses {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            turns: (0..TURNS).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl VariantUses {
    /// Records a use. `generation` is that of the index that leads to the variant.
    #[inline]
    pub(crate) fn touch(&self, generation: u128, name: &str) {
        let (slot, fingerprint) = self.slot(generation, name);
        let counter = &self.counters[generation as usize % COUNTERS];
        let last = counter.load(Ordering::Relaxed) & USE;
        // It already is the most recently used variant.
        if last != 0 && slot.load(Ordering::Relaxed) == fingerprint | last {
            return;
        }
        let now = (counter.fetch_add(1, Ordering::Relaxed) + 1) & USE;
        slot.store(fingerprint | now, Ordering::Relaxed);
    }

    /// Returns when a variant was last used. Returns `None` if that is not known.
    pub(crate) fn last_use(&self, generation: u128, name: &str) -> Option<LastUse> {
        let (slot, fingerprint) = self.slot(generation, name);
        let last = slot.load(Ordering::Relaxed);
        (last & !USE == fingerprint && last & USE != 0).then_some(LastUse(last & USE))
    }

    /// Forgets a use, if there was no other one since.
    pub(crate) fn forget(&self, generation: u128, name: &str, last: LastUse) {
        let (slot, fingerprint) = self.slot(generation, name);
        let _ = slot.compare_exchange(fingerprint | last.0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn slot(&self, generation: u128, name: &str) -> (&AtomicU64, u64) {
        // The generation is random, so a client cannot know which names share a slot.
        let mut hash = (generation >> 64) as u64 ^ generation as u64;
        for chunk in name.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        hash ^= hash >> 29;
        (&self.slots[hash as usize % SLOTS], hash & !USE)
    }

    /// Waits for the turn to change a URL's list of variants, so that the changes of this process do not collide.
    pub(crate) async fn turn(&self, primary: &Key) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(primary.as_str());
        self.turns[hash as usize % TURNS].lock().await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::VariantUses;

    #[test]
    fn the_last_use_counts() {
        let uses = VariantUses::default();
        assert_eq!(uses.last_use(1, "a"), None);
        for name in ["a", "b", "a", "a"] {
            uses.touch(1, name);
        }
        let (a, b) = (uses.last_use(1, "a").unwrap(), uses.last_use(1, "b").unwrap());
        assert!(a > b);
        assert_eq!(uses.last_use(2, "a"), None, "another index");
        uses.forget(1, "a", b);
        assert_eq!(uses.last_use(1, "a"), Some(a), "it was used again");
        uses.forget(1, "a", a);
        assert_eq!(uses.last_use(1, "a"), None);
    }
}
