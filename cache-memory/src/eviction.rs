//! The eviction policy: which entry to evict when there is no room.
//!
//! New entries start in the cold queue. Entries that are used there, and keys that return soon after they were evicted
//! from it, move to the hot queue, which is a clock: an entry that was used gets another round. This is CLOCK-Pro as in
//! quick_cache. The share of the cold queue adapts. It is small while the same keys stay popular, so that scans and
//! loops do not evict them. It grows when popularity moves on, which shows when most keys that return were evicted from
//! the cold queue rather than from the hot one.

use crate::entry::{Entry, Queue};
use crate::ghosts::Ghosts;
use crate::list::{ByUse, List};
use crate::slots::Slots;

/// The bounds of the cold queue's share of the weight.
const LEAST_COLD: f64 = 0.01;
const MOST_COLD: f64 = 0.97;
/// The cold queue has room for at least one entry, even in a small table.
const LEAST_COLD_ENTRIES: f64 = 1.5;
/// Above this share, the cold queue is so large that one use is enough to move an entry.
const MOSTLY_COLD: f64 = 0.3;
/// Popularity moves on if this many times more keys return that were evicted from the cold queue than from the hot one.
/// If popularity is stable, about as many return from both.
const MOVING: f64 = 1.7;

/// The number and the weight of the pinned entries.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pinned {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

/// The queues, and the ghosts of the entries that were evicted from them.
#[derive(Debug)]
pub(crate) struct Eviction {
    cold: List<ByUse>,
    hot: List<ByUse>,
    pinned: List<ByUse>,
    cold_weight: u64,
    hot_weight: u64,
    held: Pinned,
    /// Added to the bytes of each entry, so that the largest number of entries weighs as much as the largest number of
    /// bytes.
    surcharge: u64,
    gone_cold: Ghosts,
    gone_hot: Ghosts,
    /// How many keys returned lately, by the queue that they were evicted from.
    back_cold: f64,
    back_hot: f64,
    cold_share: f64,
    /// Whether to evict from the hot queue until it is down to its share.
    cooling: bool,
}

impl Eviction {
    pub(crate) fn new(surcharge: u64) -> Self {
        Self {
            cold: List::default(),
            hot: List::default(),
            pinned: List::default(),
            cold_weight: 0,
            hot_weight: 0,
            held: Pinned::default(),
            surcharge,
            gone_cold: Ghosts::default(),
            gone_hot: Ghosts::default(),
            back_cold: 0.0,
            back_hot: 0.0,
            cold_share: LEAST_COLD,
            cooling: false,
        }
    }

    /// Returns the largest number of uses that is counted for an entry.
    pub(crate) fn most_uses(&self) -> u8 {
        if self.cold_share > MOSTLY_COLD { 1 } else { 2 }
    }

    pub(crate) fn pinned(&self) -> Pinned {
        self.held
    }

    /// Chooses the queue of a new entry, in a table with `len` entries. `fullness` is the used share of the bound that
    /// is closer.
    pub(crate) fn admit(&mut self, hash: u32, len: usize, fullness: f64) -> Queue {
        if self.gone_cold.remove(hash) {
            self.back_cold += 1.0;
            self.learn(len);
            return Queue::Hot;
        }
        if self.gone_hot.remove(hash) {
            self.back_hot += 1.0;
            self.learn(len);
            return Queue::Cold;
        }
        if self.cold.first().is_none() && fullness < self.hot_share(len) {
            Queue::Hot
        } else {
            Queue::Cold
        }
    }

    fn learn(&mut self, len: usize) {
        let len = len.max(1) as f64;
        if self.back_cold + self.back_hot > len {
            self.back_cold /= 2.0;
            self.back_hot /= 2.0;
        }
        let step = if self.back_cold > MOVING * self.back_hot {
            1.0
        } else {
            -1.0
        };
        self.cold_share = (self.cold_share + step / len).clamp(LEAST_COLD, MOST_COLD);
    }

    /// Adds the entry in `slot` to the queue that it names.
    pub(crate) fn insert(&mut self, slots: &mut Slots, slot: u32) {
        let entry = &slots[slot];
        let (weight, bytes) = (self.weight(entry), entry.weight());
        match entry.queue {
            Queue::Cold => {
                self.cold_weight += weight;
                self.cold.push_back(slots, slot);
            }
            Queue::Hot => {
                self.hot_weight += weight;
                self.hot.push_back(slots, slot);
            }
            Queue::Pinned => {
                self.held.entries += 1;
                self.held.bytes += bytes;
                self.pinned.push_back(slots, slot);
            }
        }
    }

    pub(crate) fn remove(&mut self, slots: &mut Slots, slot: u32) {
        let entry = &slots[slot];
        let (weight, bytes) = (self.weight(entry), entry.weight());
        match entry.queue {
            Queue::Cold => {
                self.cold_weight -= weight;
                self.cold.unlink(slots, slot);
            }
            Queue::Hot => {
                self.hot_weight -= weight;
                self.hot.unlink(slots, slot);
            }
            Queue::Pinned => {
                self.held.entries -= 1;
                self.held.bytes -= bytes;
                self.pinned.unlink(slots, slot);
            }
        }
    }

    /// Updates the links to an entry that moved from one slot to another.
    pub(crate) fn relocate(&mut self, slots: &mut Slots, from: u32, to: u32) {
        match slots[to].queue {
            Queue::Cold => self.cold.relocate(slots, from, to),
            Queue::Hot => self.hot.relocate(slots, from, to),
            Queue::Pinned => self.pinned.relocate(slots, from, to),
        }
    }

    /// Chooses the entry to evict, if there is one that is not pinned.
    pub(crate) fn choose(&mut self, slots: &mut Slots) -> Option<u32> {
        loop {
            let share = self.hot_share(slots.occupied());
            let hot_is_over = self.hot_weight as f64 > share * (self.hot_weight + self.cold_weight) as f64;
            self.cooling &= hot_is_over;
            // If the cold queue's share is the smallest, evict from it although the hot queue is over its share: the
            // keys that return are worth more.
            let cool = self.cooling || (hot_is_over && self.cold_share > LEAST_COLD);
            let Some(slot) = self.cold.first().filter(|_| !cool) else {
                return self.choose_hot(slots);
            };
            let uses = slots[slot].uses();
            if *uses == 0 {
                return Some(slot);
            }
            *uses -= 1;
            self.remove(slots, slot);
            slots[slot].queue = Queue::Hot;
            self.insert(slots, slot);
            self.cooling = true;
        }
    }

    fn choose_hot(&mut self, slots: &mut Slots) -> Option<u32> {
        loop {
            let slot = self.hot.first()?;
            let uses = slots[slot].uses();
            if *uses == 0 {
                return Some(slot);
            }
            *uses -= 1;
            self.hot.rotate(slots);
        }
    }

    /// Returns the oldest pinned entry.
    pub(crate) fn oldest_pinned(&self) -> Option<u32> {
        self.pinned.first()
    }

    /// Remembers that `entry` was evicted, from a table that has `len` entries left.
    pub(crate) fn remember(&mut self, entry: &Entry, len: usize) {
        match entry.queue {
            Queue::Cold => self.gone_cold.add(entry.hash, len / 2),
            Queue::Hot => self.gone_hot.add(entry.hash, len / 2),
            Queue::Pinned => {}
        }
    }

    fn hot_share(&self, len: usize) -> f64 {
        1.0 - self.cold_share.max(LEAST_COLD_ENTRIES / len.max(2) as f64)
    }

    fn weight(&self, entry: &Entry) -> u64 {
        entry.weight().saturating_add(self.surcharge)
    }
}
