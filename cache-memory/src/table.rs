//! The entries of a shard, with three indexes: by key, by deadline, and by use for the eviction.

use hashbrown::HashTable;

use crate::deadlines::{Deadlines, Due};
use crate::entry::{Entry, Queue};
use crate::eviction::{Eviction, Pinned};
use crate::slots::Slots;
use crate::time::Moment;

/// A key to look up, with the half of its hash that the table uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pub(crate) hash: u32,
    pub(crate) key: &'a str,
}

/// Expands the stored half of a hash so that it differs in the bits that the index uses.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[derive(Debug)]
pub(crate) struct Table {
    index: HashTable<u32>,
    slots: Slots,
    eviction: Eviction,
    deadlines: Deadlines,
    bytes: u64,
}

impl Table {
    /// Makes an empty table. The eviction adds `surcharge` to the bytes of each entry.
    pub(crate) fn new(surcharge: u64) -> Self {
        Self {
            index: HashTable::new(),
            slots: Slots::default(),
            eviction: Eviction::new(surcharge),
            deadlines: Deadlines::default(),
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.occupied()
    }

    /// Returns the total weight of the entries in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn pinned(&self) -> Pinned {
        self.eviction.pinned()
    }

    pub(crate) fn find(&self, lookup: Lookup<'_>) -> Option<u32> {
        let key = lookup.key.as_bytes();
        let found = self.index.find(spread(lookup.hash), |slot| {
            self.slots
                .get(*slot)
                .is_some_and(|entry| entry.hash == lookup.hash && entry.content.key() == key)
        });
        found.copied()
    }

    /// Returns the entry of a key, and counts a use of it.
    pub(crate) fn read(&self, lookup: Lookup<'_>) -> Option<&Entry> {
        let entry = self.slots.get(self.find(lookup)?)?;
        self.count_use(entry);
        Some(entry)
    }

    pub(crate) fn count_use(&self, entry: &Entry) {
        self.eviction.count_use(entry);
    }

    pub(crate) fn entry(&self, slot: u32) -> &Entry {
        &self.slots[slot]
    }

    /// Chooses the queue of an entry whose key is not in the table.
    pub(crate) fn admit(&mut self, hash: u32, fullness: f64) -> Queue {
        self.eviction.admit(hash, self.slots.occupied(), fullness)
    }

    /// Adds an entry whose key is not in the table, and which was used `uses` times.
    pub(crate) fn insert(&mut self, mut entry: Entry, uses: u8) {
        let hash = entry.hash;
        self.eviction.set_uses(&mut entry, uses);
        self.bytes += entry.weight();
        let slot = self.slots.insert(entry);
        self.clean_index();
        let slots = &self.slots;
        self.index
            .insert_unique(spread(hash), slot, |slot| spread(slots[*slot].hash));
        self.eviction.insert(&mut self.slots, slot);
        self.deadlines.insert(&mut self.slots, slot);
    }

    /// Rebuilds the index if it is full, and many of its places only bear traces of removed entries. It would double
    /// otherwise, although the number of entries stays the same.
    fn clean_index(&mut self) {
        let (len, places) = (self.index.len(), self.index.num_buckets());
        if len < self.index.capacity() || len > places / 5 * 4 {
            return;
        }
        let mut index = HashTable::with_capacity(places / 8 * 7);
        for slot in self.index.drain() {
            index.insert_unique(spread(self.slots[slot].hash), slot, |slot| {
                spread(self.slots[*slot].hash)
            });
        }
        self.index = index;
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let hash = self.slots.get(slot)?.hash;
        if let Ok(place) = self.index.find_entry(spread(hash), |other| *other == slot) {
            place.remove();
        }
        self.eviction.remove(&mut self.slots, slot);
        self.deadlines.remove(&mut self.slots, slot);
        let entry = self.slots.remove(slot)?;
        self.bytes -= entry.weight();
        Some(entry)
    }

    /// Evicts an entry that is not pinned, if there is one.
    pub(crate) fn evict(&mut self) -> Option<Entry> {
        let slot = self.eviction.choose(&mut self.slots)?;
        let entry = self.remove(slot)?;
        self.eviction.remember(&entry, self.slots.occupied());
        Some(entry)
    }

    /// Evicts the oldest pinned entry, if there is one.
    pub(crate) fn evict_pinned(&mut self) -> Option<Entry> {
        self.remove(self.eviction.oldest_pinned()?)
    }

    /// Makes one step of the search for an entry that is past its deadline at `now`.
    pub(crate) fn step(&mut self, now: Moment) -> Due {
        self.deadlines.step(&mut self.slots, now)
    }

    /// Returns a lower bound of the earliest deadline.
    pub(crate) fn earliest_deadline(&self) -> Option<Moment> {
        self.deadlines.earliest()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.slots.iter()
    }

    /// Releases unused memory in up to `limit` steps. Entries may move to other slots. Returns whether there is more to
    /// do.
    pub(crate) fn compact(&mut self, limit: usize) -> bool {
        for _ in 0..limit {
            if !self.slots.is_sparse() {
                break;
            }
            let Some((from, to)) = self.slots.remove_last() else {
                continue;
            };
            let hash = self.slots[to].hash;
            if let Some(slot) = self.index.find_mut(spread(hash), |slot| *slot == from) {
                *slot = to;
            }
            self.eviction.relocate(&mut self.slots, from, to);
            self.deadlines.relocate(&mut self.slots, from, to);
        }
        if self.index.len() < self.index.capacity() / 4 {
            let slots = &self.slots;
            self.index
                .shrink_to(self.index.len() * 2, |slot| spread(slots[*slot].hash));
        }
        self.slots.is_sparse()
    }
}
