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
    /// The cold queue as well, for an entry that was in the hot queue before.
    Demoted,
    Hot,
    /// Evicted only if nothing else is left.
    Pinned,
}

/// A period between evictions, by which the eviction knows how long ago an entry was used. The numbers of epochs wrap
/// around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Epoch(u8);

impl Epoch {
    /// How many epochs there are.
    pub(crate) const COUNT: u8 = 64;

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn next(self) -> Self {
        Self((self.0 + 1) % Self::COUNT)
    }

    /// Returns how many epochs there are from this one to `now`.
    pub(crate) fn age(self, now: Self) -> u8 {
        now.0.wrapping_sub(self.0) % Self::COUNT
    }
}

/// How often an entry was used, up to three times, and the epoch in which it was used last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage(u8);

impl Usage {
    const USES_BITS: u32 = 2;
    const MOST_USES: u8 = (1 << Self::USES_BITS) - 1;

    pub(crate) fn new(uses: u8, used_in: Epoch) -> Self {
        Self(uses.min(Self::MOST_USES) | used_in.0 << Self::USES_BITS)
    }

    pub(crate) fn uses(self) -> u8 {
        self.0 & Self::MOST_USES
    }

    pub(crate) fn used_in(self) -> Epoch {
        Epoch(self.0 >> Self::USES_BITS)
    }
}

/// The bucket of deadlines and the list of the cold queue that an entry is in.
#[derive(Debug, Clone, Copy, Default)]
struct Places(u16);

impl Places {
    const BUCKET_BITS: u32 = 10;
    const BUCKET: u16 = (1 << Self::BUCKET_BITS) - 1;
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
    places: Places,
    pub(crate) queue: Queue,
    /// A [`Usage`].
    usage: AtomicU8,
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
            places: Places::default(),
            queue,
            usage: AtomicU8::new(0),
        }
    }

    pub(crate) fn weight(&self) -> u64 {
        self.content.weight().saturating_add(ENTRY_OVERHEAD)
    }

    /// Counts a use in the epoch of `full`, up to as many uses as that has. Two concurrent readers may count as one use.
    pub(crate) fn count_use(&self, full: Usage) {
        let usage = Usage(self.usage.load(Ordering::Relaxed));
        // Most hits end here. They do not write, so readers can share the memory.
        if usage != full {
            let uses = usage.uses();
            let counted = Usage::new(uses + u8::from(uses < full.uses()), full.used_in());
            self.usage.store(counted.0, Ordering::Relaxed);
        }
    }

    fn usage(&mut self) -> Usage {
        Usage(*self.usage.get_mut())
    }

    /// Returns how often the entry was used.
    pub(crate) fn uses(&mut self) -> u8 {
        self.usage().uses()
    }

    /// Returns the epoch in which the entry was used last.
    pub(crate) fn used_in(&mut self) -> Epoch {
        self.usage().used_in()
    }

    pub(crate) fn set_usage(&mut self, uses: u8, used_in: Epoch) {
        *self.usage.get_mut() = Usage::new(uses, used_in).0;
    }

    /// Takes one use off the entry. Returns whether there was one.
    pub(crate) fn take_use(&mut self) -> bool {
        let usage = self.usage();
        self.set_usage(usage.uses().saturating_sub(1), usage.used_in());
        usage.uses() > 0
    }

    /// Returns the bucket of deadlines that the entry is in.
    pub(crate) fn bucket(&self) -> usize {
        usize::from(self.places.0 & Places::BUCKET)
    }

    pub(crate) fn set_bucket(&mut self, bucket: u16) {
        self.places.0 = (self.places.0 & !Places::BUCKET) | bucket;
    }

    /// Returns the epoch of the list in the cold queue that the entry is in.
    pub(crate) fn list(&self) -> Epoch {
        Epoch((self.places.0 >> Places::BUCKET_BITS) as u8)
    }

    pub(crate) fn set_list(&mut self, list: Epoch) {
        self.places.0 = (self.places.0 & Places::BUCKET) | u16::from(list.0) << Places::BUCKET_BITS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_88_bytes() {
        assert_eq!(size_of::<Option<Entry>>(), 88);
    }

    #[test]
    fn what_shares_a_byte_does_not_touch_each_other() {
        let content = Content::new("k", cache_core::Value::Bytes(bytes::Bytes::new()));
        let mut entry = Entry::new(content, 0, Deadline::NEVER, 0, Queue::Cold);
        let mut now = Epoch::default();
        for _ in 0..Epoch::COUNT {
            now = now.next();
            for bucket in [0, 1, 703] {
                entry.set_list(now);
                entry.set_bucket(bucket);
                assert_eq!((entry.bucket(), entry.list()), (bucket.into(), now));
            }
            entry.set_usage(0, now);
            for uses in [1, 2, 2] {
                entry.count_use(Usage::new(2, now));
                assert_eq!((entry.uses(), entry.used_in()), (uses, now));
            }
            assert!(entry.take_use() && entry.take_use() && !entry.take_use());
            assert_eq!(entry.used_in(), now);
            assert_eq!((now.age(now), now.age(now.next().next())), (0, 2));
        }
        assert_eq!(now, Epoch::default());
    }
}
