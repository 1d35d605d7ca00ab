//! The index by which expired records are found without being read: a hierarchical timing wheel.

use crate::list::{ByDeadline, List};
use crate::slots::Slots;
use crate::time::Moment;

/// A level has a bucket for each value of its digit; a digit has six bits.
const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;
/// As many digits as any number of milliseconds has.
const LEVELS: usize = (u64::BITS as usize).div_ceil(BITS as usize);

/// The entries that have a deadline, in buckets.
///
/// An entry is on the level of the highest digit in which its deadline differs from `reached`, in the bucket of its own
/// digit. So all entries of a level are due before those of the next one, and the buckets of a level in their order.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// Empty until there is a deadline.
    buckets: Vec<List<ByDeadline>>,
    /// For each level, which of its buckets hold entries.
    filled: [u64; LEVELS],
    /// No entry outside of `draining` is due before this.
    reached: u64,
    /// A bucket that is due, and whose entries are being freed or moved to lower levels.
    draining: Option<u16>,
}

/// What was found among the entries that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// The entry in this slot is past its deadline.
    Past(u32),
    /// An entry was moved to a lower level; there may be more.
    Moved,
    Nothing,
}

impl Deadlines {
    /// Adds the entry in `slot`, if its record has an end.
    pub(crate) fn insert(&mut self, slots: &mut Slots, slot: u32) {
        let Some(deadline) = slots[slot].deadline.moment() else {
            return;
        };
        if self.buckets.is_empty() {
            self.buckets.resize(LEVELS * BUCKETS, List::default());
        }
        // A deadline that was passed meanwhile is due at once.
        let deadline = deadline.as_millis().max(self.reached);
        let differing = (deadline ^ self.reached) | (BUCKETS as u64 - 1);
        let level = (u64::BITS - 1 - differing.leading_zeros()) / BITS;
        let digit = (deadline >> (level * BITS)) as usize % BUCKETS;
        let bucket = level as usize * BUCKETS + digit;
        slots[slot].bucket = bucket as u16;
        self.filled[level as usize] |= 1 << digit;
        self.buckets[bucket].push_back(slots, slot);
    }

    /// Removes the entry in `slot`, if its record has an end.
    pub(crate) fn remove(&mut self, slots: &mut Slots, slot: u32) {
        if slots[slot].deadline.moment().is_none() {
            return;
        }
        let bucket = usize::from(slots[slot].bucket);
        self.buckets[bucket].unlink(slots, slot);
        if self.buckets[bucket].first().is_none() {
            self.filled[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
        }
    }

    /// Mends the links to an entry that has been moved from one slot to another.
    pub(crate) fn relocate(&mut self, slots: &mut Slots, from: u32, to: u32) {
        if slots[to].deadline.moment().is_some() {
            let bucket = usize::from(slots[to].bucket);
            self.buckets[bucket].relocate(slots, from, to);
        }
    }

    /// Returns a moment before which nothing is due, or `None` if nothing ever is. The true one may be later.
    pub(crate) fn earliest(&self) -> Option<Moment> {
        if self.draining.is_some() {
            return Some(Moment::from_millis(self.reached));
        }
        self.next_bucket().map(|(_, start)| Moment::from_millis(start))
    }

    /// Looks for an entry that is past its deadline at `now`, one step at a time.
    pub(crate) fn step(&mut self, slots: &mut Slots, now: Moment) -> Due {
        // Whoever read the clock later may have been here earlier.
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

    /// Returns the bucket whose entries are due first, and the moment at which the first of them may be.
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
