//! The storage of the entries: numbered slots, in chunks that never move.

use std::ops::{Index, IndexMut};

use crate::entry::Entry;

const CHUNK: usize = 128;

/// Slots for entries. Vacant slots are reused before new ones are added.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    chunks: Vec<Vec<Option<Entry>>>,
    /// Vacant slots. Some of the numbers may be outdated: the slot is in use again, or was removed.
    vacant: Vec<u32>,
    /// The number of slots, vacant ones included.
    len: usize,
    occupied: usize,
}

impl Slots {
    pub(crate) fn occupied(&self) -> usize {
        self.occupied
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Entry> {
        let slot = slot as usize;
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?.as_ref()
    }

    fn place(&mut self, slot: u32) -> Option<&mut Option<Entry>> {
        let slot = slot as usize;
        self.chunks.get_mut(slot / CHUNK)?.get_mut(slot % CHUNK)
    }

    pub(crate) fn insert(&mut self, entry: Entry) -> u32 {
        self.occupied += 1;
        while let Some(slot) = self.vacant.pop() {
            if let Some(place @ None) = self.place(slot) {
                *place = Some(entry);
                return slot;
            }
        }
        let slot = self.len;
        if slot.is_multiple_of(CHUNK) {
            // The first chunk starts small and grows. Later chunks fill up soon, so they are allocated whole.
            self.chunks.push(if slot == 0 {
                Vec::new()
            } else {
                Vec::with_capacity(CHUNK)
            });
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(Some(entry));
        }
        self.len += 1;
        slot as u32
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.place(slot)?.take()?;
        self.occupied -= 1;
        self.vacant.push(slot);
        Some(entry)
    }

    /// Returns whether there are so many vacant slots that memory should be released.
    pub(crate) fn is_sparse(&self) -> bool {
        self.len - self.occupied > self.occupied / 16 + CHUNK
    }

    /// Removes the last slot. If it holds an entry, moves that to a vacant slot and returns the numbers of both.
    pub(crate) fn remove_last(&mut self) -> Option<(u32, u32)> {
        let chunk = self.chunks.last_mut()?;
        let last = chunk.pop()?;
        if chunk.is_empty() {
            self.chunks.pop();
        }
        self.len -= 1;
        let len = self.len;
        if len < self.vacant.len() / 2 {
            self.vacant.retain(|slot| (*slot as usize) < len);
            self.vacant.shrink_to(len);
        }
        let entry = last?;
        let from = self.len as u32;
        self.occupied -= 1;
        Some((from, self.insert(entry)))
    }

    /// Returns the entries with their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.chunks
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(slot, entry)| Some((slot as u32, entry.as_ref()?)))
    }
}

impl Index<u32> for Slots {
    type Output = Entry;

    /// Returns the entry in a slot that a list or the index refers to.
    #[expect(
        clippy::expect_used,
        reason = "an entry leaves the lists and the index before its slot"
    )]
    fn index(&self, slot: u32) -> &Entry {
        self.get(slot).expect("lists and index lead to entries")
    }
}

impl IndexMut<u32> for Slots {
    #[expect(
        clippy::expect_used,
        reason = "an entry leaves the lists and the index before its slot"
    )]
    fn index_mut(&mut self, slot: u32) -> &mut Entry {
        self.place(slot)
            .and_then(Option::as_mut)
            .expect("lists and index lead to entries")
    }
}
