//! The cold queue: entries in the order of their last use, to within an epoch.

use crate::entry::Epoch;
use crate::list::{ByUse, List};
use crate::slots::Slots;

/// How many epochs pass while as many entries are evicted as there are.
const EPOCHS_PER_TURNOVER: usize = 8;

/// A list for each epoch. An entry is in the list of the epoch in which it was used last when it joined the queue, so a
/// hit moves nothing.
#[derive(Debug)]
pub(crate) struct ColdQueue {
    lists: [List<ByUse>; Epoch::COUNT as usize],
    now: Epoch,
    /// No entry is in the list of an epoch before this one.
    oldest: Epoch,
    /// The evictions in the epoch `now`.
    evicted: usize,
}

impl Default for ColdQueue {
    fn default() -> Self {
        Self {
            lists: [List::default(); Epoch::COUNT as usize],
            now: Epoch::default(),
            oldest: Epoch::default(),
            evicted: 0,
        }
    }
}

impl ColdQueue {
    pub(crate) fn now(&self) -> Epoch {
        self.now
    }

    /// Counts an eviction from a table that has `len` entries left. Now and then it begins a new epoch.
    pub(crate) fn count_eviction(&mut self, len: usize) {
        self.evicted += 1;
        let next = self.now.next();
        // While the queue has an entry from the epoch that would come round again, the present one is prolonged.
        if self.evicted > len / EPOCHS_PER_TURNOVER && self.lists[next.index()].first().is_none() {
            self.evicted = 0;
            self.now = next;
            if self.oldest == next {
                self.oldest = next.next();
            }
        }
    }

    /// Returns the entry that was used longest ago.
    pub(crate) fn first(&mut self) -> Option<u32> {
        loop {
            let first = self.lists[self.oldest.index()].first();
            if first.is_some() || self.oldest == self.now {
                return first;
            }
            self.oldest = self.oldest.next();
        }
    }

    /// Returns whether an entry that was used in the epoch `used_in` was used before all entries of the queue.
    pub(crate) fn is_past(&self, used_in: Epoch) -> bool {
        used_in.age(self.now) > self.oldest.age(self.now)
    }

    /// Adds an entry behind those that were used before it.
    pub(crate) fn push(&mut self, slots: &mut Slots, slot: u32) {
        let entry = &mut slots[slot];
        let used_in = entry.used_in();
        let list = if self.is_past(used_in) { self.oldest } else { used_in };
        entry.set_list(list);
        self.lists[list.index()].push_back(slots, slot);
    }

    pub(crate) fn unlink(&mut self, slots: &mut Slots, slot: u32) {
        let list = slots[slot].list();
        self.lists[list.index()].unlink(slots, slot);
    }

    /// Updates the links to an entry that moved from one slot to another.
    pub(crate) fn relocate(&mut self, slots: &mut Slots, from: u32, to: u32) {
        let list = slots[to].list();
        self.lists[list.index()].relocate(slots, from, to);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cache_core::Value;

    use super::*;
    use crate::content::Content;
    use crate::entry::{Entry, Queue};
    use crate::time::Deadline;

    /// Adds an entry that was used in `used_in`.
    fn add(queue: &mut ColdQueue, slots: &mut Slots, used_in: Epoch) -> u32 {
        let content = Content::new("k", Value::Bytes(Bytes::new()));
        let mut entry = Entry::new(content, 0, Deadline::NEVER, 0, Queue::Cold);
        entry.set_usage(0, used_in);
        let slot = slots.insert(entry);
        queue.push(slots, slot);
        slot
    }

    /// Begins the next epoch, if it may begin.
    fn pass(queue: &mut ColdQueue) -> Epoch {
        queue.count_eviction(0);
        queue.now()
    }

    #[test]
    fn entries_come_in_the_order_of_their_last_use_whenever_they_join() {
        let (mut queue, mut slots) = (ColdQueue::default(), Slots::default());
        let mut expected = Vec::new();
        // Twice round.
        for _ in 0..2 * Epoch::COUNT / 4 {
            let epochs = [pass(&mut queue), pass(&mut queue), pass(&mut queue), pass(&mut queue)];
            let added = [2, 0, 3, 1].map(|n| (n, add(&mut queue, &mut slots, epochs[n])));
            let mut added = added.to_vec();
            added.sort_unstable();
            expected.extend(added.into_iter().map(|(_, slot)| slot));
            // Later entries than these are not the first.
            for slot in expected.drain(..) {
                assert_eq!(queue.first(), Some(slot));
                queue.unlink(&mut slots, slot);
            }
        }
        assert_eq!(queue.first(), None);
    }

    #[test]
    fn an_entry_is_not_taken_for_a_recent_one_when_the_epochs_come_round() {
        let (mut queue, mut slots) = (ColdQueue::default(), Slots::default());
        let oldest = add(&mut queue, &mut slots, Epoch::default());
        for _ in 0..3 * u32::from(Epoch::COUNT) {
            let now = pass(&mut queue);
            add(&mut queue, &mut slots, now);
            assert_eq!(queue.first(), Some(oldest));
            assert!(!queue.is_past(now));
        }
        assert_eq!(queue.now().next(), Epoch::default());
        queue.unlink(&mut slots, oldest);
        assert_eq!(pass(&mut queue), Epoch::default());
    }
}
