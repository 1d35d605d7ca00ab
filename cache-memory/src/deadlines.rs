//! An index of the entries by deadline: a hierarchical timing wheel. It finds expired records without reading them.

use crate::list::{ByDeadline, List};
use crate::slots::Slots;
use crate::time::Moment;

/// The bits of a digit. Each level has a bucket for each value of its digit.
const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;
/// The number of digits in 64 bits of milliseconds.
const LEVELS: usize = (u64::BITS as usize).div_ceil(BITS as usize);

/// The entries with a deadline, in buckets.
///
/// The level of an entry is the highest digit in which its deadline differs from `reached`; its bucket is that digit of
/// the deadline. So all entries of a level are due before those of the next level, and the buckets of a level are due
/// in order.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// Allocated when the first deadline is added.
    buckets: Vec<List<ByDeadline>>,
    /// For each level, a bit for each bucket that is not empty.
    filled: [u64; LEVELS],
    /// Every entry outside of `draining` is due at this time or later.
    reached: u64,
    /// The bucket that is due, whose entries are being freed or moved to lower levels.
    draining: Option<u16>,
}

/// The result of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// The entry in this slot is past its deadline.
    Past(u32),
    /// An entry was moved to a lower level. More may be due.
    Moved,
    Nothing,
}

impl Deadlines {
    /// Adds the entry in `slot` if it has a deadline.
    pub(crate) fn insert(&mut self, slots: &mut Slots, slot: u32) {
        let Some(deadline) = slots[slot].deadline.moment() else {
            return;
        };
        if self.buckets.is_empty() {
            self.buckets.resize(LEVELS * BUCKETS, List::default());
        }
        // A deadline before `reached` is due at once.
        let deadline = deadline.as_millis().max(self.reached);
        let differing = (deadline ^ self.reached) | (BUCKETS as u64 - 1);
        let level = (u64::BITS - 1 - differing.leading_zeros()) / BITS;
        let digit = (deadline >> (level * BITS)) as usize % BUCKETS;
        let bucket = level as usize * BUCKETS + digit;
        slots[slot].set_bucket(bucket as u16);
        self.filled[level as usize] |= 1 << digit;
        self.buckets[bucket].push_back(slots, slot);
    }

    /// Removes the entry in `slot` if it has a deadline.
    pub(crate) fn remove(&mut self, slots: &mut Slots, slot: u32) {
        if slots[slot].deadline.moment().is_none() {
            return;
        }
        let bucket = slots[slot].bucket();
        self.buckets[bucket].unlink(slots, slot);
        if self.buckets[bucket].first().is_none() {
            self.filled[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
        }
    }

    /// Updates the links to an entry that moved from one slot to another.
    pub(crate) fn relocate(&mut self, slots: &mut Slots, from: u32, to: u32) {
        if slots[to].deadline.moment().is_some() {
            let bucket = slots[to].bucket();
            self.buckets[bucket].relocate(slots, from, to);
        }
    }

    /// Returns a lower bound of the earliest deadline, or `None` if there are no deadlines.
    pub(crate) fn earliest(&self) -> Option<Moment> {
        if self.draining.is_some() {
            return Some(Moment::from_millis(self.reached));
        }
        self.next_bucket().map(|(_, start)| Moment::from_millis(start))
    }

    /// Makes one step of the search for an entry that is past its deadline at `now`.
    pub(crate) fn step(&mut self, slots: &mut Slots, now: Moment) -> Due {
        // Another thread may have read a later time and come here first.
        let now = now.max(Moment::from_millis(self.reached));
        let bucket = match self.draining {
            Some(bucket) => usize::from(bucket),
            None => match self.next_bucket() {
                Some((bucket, start)) if start <= now.as_millis() => {
                    self.reached = start;
                    self.draining = Some(bucket as u16);
                    bucket
                }
                _ => {
                    self.reached = now.as_millis();
                    return Due::Nothing;
                }
            },
        };
        let Some(slot) = self.buckets[bucket].first() else {
            self.draining = None;
            return Due::Moved;
        };
        if slots[slot].deadline.is_past(now) {
            return Due::Past(slot);
        }
        self.remove(slots, slot);
        self.insert(slots, slot);
        Due::Moved
    }

    /// Returns the bucket that is due first, and the earliest deadline that it can contain.
    fn next_bucket(&self) -> Option<(usize, u64)> {
        let level = self.filled.iter().position(|filled| *filled != 0)?;
        let digit = self.filled[level].trailing_zeros() as usize;
        let shift = level as u32 * BITS;
        let above = match shift + BITS {
            bits if bits < u64::BITS => self.reached >> bits << bits,
            _ => 0,
        };
        Some((level * BUCKETS + digit, above | (digit as u64) << shift))
    }
}
