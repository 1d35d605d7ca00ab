//! The eviction policy: which entry to evict when there is no room.
//!
//! New entries start in the cold queue, which is in the order of the last use. Entries that are used there, and keys
//! that return soon after they were evicted, move to the hot queue, which is a clock: an entry that was used gets
//! another round. The queues are those of CLOCK-Pro, as in quick_cache.
//!
//! The share of the cold queue adapts, as in ARC. The keys that return soon show which queue is too small: that from
//! which more of them were evicted. While the same keys stay popular, the cold queue is tiny, so scans and loops evict
//! nothing popular. While popularity moves on, it grows. An entry that leaves the hot queue goes back to its place in
//! the cold queue by its last use, so the larger the cold queue is, the more the policy resembles LRU.
//!
//! One pattern deceives this: a loop over a few more keys than there is room for. Every key returns soon, and yet a
//! larger cold queue would get no hit. The policy recognises it by the cold queue, whose entries are not used. See
//! [`Eviction::is_recency_useful`].

use crate::cold::ColdQueue;
use crate::entry::{Entry, Epoch, Queue, Usage};
use crate::ghosts::Ghosts;
use crate::list::{ByUse, List};
use crate::slots::Slots;

/// The bounds of the cold queue's share of the weight.
const LEAST_COLD: f64 = 0.006;
const MOST_COLD: f64 = 0.97;
/// The cold queue has room for at least one entry, even in a small table.
const LEAST_COLD_ENTRIES: f64 = 1.5;
/// Above this share of the cold queue, one use of an entry counts as much as several.
const MOSTLY_RECENT: f64 = 0.05;
/// How many keys are remembered for each queue, as a share of the entries. A larger share would take a loop over twice
/// as many keys as there is room for as a sign that popularity moves on.
const GHOSTS: f64 = 0.5;
/// How many times more keys have to return to the cold queue than to the hot one before the cold queue grows.
const BALANCE: f64 = 1.1;
/// How far the share moves if all keys return to the same queue: the weight of this many entries for each.
const SPEED: f64 = 8.0;
/// How many returns of keys the policy looks back on, as a share of the entries.
const MEMORY: f64 = 0.1;
/// How densely the cold queue must be used compared with the returns of keys that were evicted from it.
const LEAST_DENSITY: f64 = 0.25;

/// The number and the weight of the pinned entries.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pinned {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

/// The queues, and the ghosts of the entries that were evicted from them.
#[derive(Debug)]
pub(crate) struct Eviction {
    cold: ColdQueue,
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
    /// How many entries of the cold queue turned out to have been used, in the same time.
    used_cold: f64,
    cold_share: f64,
    /// The present epoch, and the largest number of uses that is counted for an entry.
    full: Usage,
    /// Whether to evict from the hot queue until it is down to its share.
    cooling: bool,
}

impl Eviction {
    pub(crate) fn new(surcharge: u64) -> Self {
        Self {
            cold: ColdQueue::default(),
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
            used_cold: 0.0,
            cold_share: LEAST_COLD,
            full: Usage::new(2, Epoch::default()),
            cooling: false,
        }
    }

    /// Counts a use of `entry`.
    pub(crate) fn count_use(&self, entry: &Entry) {
        entry.count_use(self.full);
    }

    /// Sets how often `entry` was used, the last time just now.
    pub(crate) fn set_uses(&self, entry: &mut Entry, uses: u8) {
        entry.set_usage(uses.min(self.full.uses()), self.full.used_in());
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
            return if self.is_recency_useful(len) {
                Queue::Hot
            } else {
                Queue::Cold
            };
        }
        if self.cold_weight == 0 && fullness < self.hot_share(len) {
            Queue::Hot
        } else {
            Queue::Cold
        }
    }

    /// Adapts the share of the cold queue after a key has returned.
    fn learn(&mut self, len: usize) {
        let entries = len.max(1) as f64;
        if self.back_cold + self.back_hot > MEMORY * entries {
            self.back_cold /= 2.0;
            self.back_hot /= 2.0;
            self.used_cold /= 2.0;
        }
        let back_hot = BALANCE * self.back_hot;
        let step = if self.is_recency_useful(len) {
            (self.back_cold - back_hot) / (self.back_cold + back_hot)
        } else {
            -1.0
        };
        self.cold_share = (self.cold_share + SPEED * step / entries).clamp(LEAST_COLD, MOST_COLD);
        let most_uses = if self.cold_share > MOSTLY_RECENT { 1 } else { 2 };
        self.full = Usage::new(most_uses, self.full.used_in());
    }

    /// Returns whether entries that were used lately are likely to be used again soon.
    ///
    /// Then a place in the cold queue has more uses than there are returns for a place among its ghosts, which hold
    /// what was used longer ago. In a loop over more keys than there is room for, the cold queue has none: each key is
    /// used again when all others have been.
    fn is_recency_useful(&self, len: usize) -> bool {
        let returns = self.back_cold / GHOSTS;
        self.used_cold >= LEAST_DENSITY * returns * self.share_of_cold(len)
    }

    /// Adds the entry in `slot` to the queue that it names.
    pub(crate) fn insert(&mut self, slots: &mut Slots, slot: u32) {
        let entry = &slots[slot];
        let (weight, bytes) = (self.weight(entry), entry.weight());
        match entry.queue {
            Queue::Cold | Queue::Demoted => {
                self.cold_weight += weight;
                self.cold.push(slots, slot);
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
            Queue::Cold | Queue::Demoted => {
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
            Queue::Cold | Queue::Demoted => self.cold.relocate(slots, from, to),
            Queue::Hot => self.hot.relocate(slots, from, to),
            Queue::Pinned => self.pinned.relocate(slots, from, to),
        }
    }

    fn move_to(&mut self, slots: &mut Slots, slot: u32, queue: Queue) {
        self.remove(slots, slot);
        slots[slot].queue = queue;
        self.insert(slots, slot);
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
            let first = self.cold.first();
            let Some(slot) = first.filter(|_| !cool) else {
                let slot = self.choose_hot(slots)?;
                let demote = first.is_some()
                    && !self.cold.is_past(slots[slot].used_in())
                    && self.is_recency_useful(slots.occupied());
                if !demote {
                    return Some(slot);
                }
                self.move_to(slots, slot, Queue::Demoted);
                continue;
            };
            if !slots[slot].take_use() {
                return Some(slot);
            }
            self.used_cold += 1.0;
            self.move_to(slots, slot, Queue::Hot);
            self.cooling = true;
        }
    }

    fn choose_hot(&mut self, slots: &mut Slots) -> Option<u32> {
        loop {
            let slot = self.hot.first()?;
            if !slots[slot].take_use() {
                return Some(slot);
            }
            self.hot.rotate(slots);
        }
    }

    /// Returns the oldest pinned entry.
    pub(crate) fn oldest_pinned(&self) -> Option<u32> {
        self.pinned.first()
    }

    /// Remembers that `entry` was evicted, from a table that has `len` entries left.
    pub(crate) fn remember(&mut self, entry: &Entry, len: usize) {
        self.cold.count_eviction(len);
        self.full = Usage::new(self.full.uses(), self.cold.now());
        let remembered = (GHOSTS * len as f64) as usize;
        match entry.queue {
            Queue::Cold => self.gone_cold.add(entry.hash, remembered),
            // The hot queue was too small for both.
            Queue::Demoted | Queue::Hot => self.gone_hot.add(entry.hash, remembered),
            Queue::Pinned => {}
        }
    }

    fn share_of_cold(&self, len: usize) -> f64 {
        self.cold_share.max(LEAST_COLD_ENTRIES / len.max(2) as f64)
    }

    fn hot_share(&self, len: usize) -> f64 {
        1.0 - self.share_of_cold(len)
    }

    fn weight(&self, entry: &Entry) -> u64 {
        entry.weight().saturating_add(self.surcharge)
    }
}
