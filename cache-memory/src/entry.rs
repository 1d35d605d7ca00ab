//! One entry of the table.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::content::Content;
use crate::time::Deadline;

/// The weight of an entry beyond its key and its value: its slot of 88 bytes, its place in the index (6 to 13 bytes,
/// depending on how full that is), and its share of the ghosts (up to 11 bytes).
pub(crate) const ENTRY_OVERHEAD: u64 = 108;

/// The links of an entry to its neighbours in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Links {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

/// Which of the eviction's queues an entry is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    Cold,
    Hot,
    /// Evicted only if nothing else is left.
    Pinned,
}

/// A record and its places in the table's lists.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) content: Content,
    /// The lower half of the record's version; the upper half is the same for all records of a store.
    pub(crate) version: u64,
    pub(crate) deadline: Deadline,
    pub(crate) hash: u32,
    pub(crate) by_use: Links,
    pub(crate) by_deadline: Links,
    pub(crate) bucket: u16,
    pub(crate) queue: Queue,
    uses: AtomicU8,
}

impl Entry {
    pub(crate) fn new(content: Content, version: u64, deadline: Deadline, hash: u32, queue: Queue) -> Self {
        Self {
            content,
            version,
            deadline,
            hash,
            by_use: Links::default(),
            by_deadline: Links::default(),
            bucket: 0,
            queue,
            uses: AtomicU8::new(0),
        }
    }

    pub(crate) fn weight(&self) -> u64 {
        self.content.weight().saturating_add(ENTRY_OVERHEAD)
    }

    /// Counts a use, up to `most`. Two concurrent readers may count as one use.
    pub(crate) fn count_use(&self, most: u8) {
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < most {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }

    pub(crate) fn uses(&mut self) -> &mut u8 {
        self.uses.get_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_88_bytes() {
        assert_eq!(size_of::<Option<Entry>>(), 88);
    }
}
