//! The records that show which tags were invalidated since a load began: a sequence of numbers, and pages of slots.
//!
//! A load that may get late tags records the number of the sequence when it begins. An invalidation writes the number
//! that it reads into the slot of its tag. The sequence never goes back, so if a slot holds a lower number than the
//! load began with, none of the tags of the slot was invalidated since the load began.

use std::collections::BTreeMap;

use cache_core::{EntryKind, Envelope, Key, Record, Timestamp, Value};

/// The number of pages, each of which is one record. Invalidations are spread over them.
pub(super) const PAGES: usize = 64;

/// The number of slots on a page.
const SLOTS: usize = 64;

/// The encoding of the sequence and its pages as records.
pub(super) trait LateRecord: Clone + Send + Sync + 'static {
    fn to_bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Option<Self>;

    fn decode(record: &Record, key: &Key) -> Option<Self> {
        match &record.value {
            Value::Shared(shared) => shared.object().downcast_ref().cloned(),
            Value::Bytes(bytes) => {
                let envelope = Envelope::decode(bytes, key).ok()?;
                let payload = (envelope.kind == EntryKind::Tag).then_some(envelope.payload)?;
                Self::from_bytes(&payload)
            }
        }
    }
}

/// The numbers that order loads and invalidations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// A random id. A sequence that was lost is begun anew with another id. Numbers of different sequences are never
    /// compared.
    pub(super) id: u64,
    pub(super) number: u64,
    /// Whether an invalidation has used the number, so that the next load must begin with a higher one.
    pub(super) used: bool,
}

impl Sequence {
    pub(super) fn begun(id: u64) -> Self {
        Self {
            id,
            number: 1,
            used: false,
        }
    }

    pub(super) fn next(self) -> Self {
        Self {
            number: self.number + 1,
            used: false,
            ..self
        }
    }

    pub(super) fn used(self) -> Self {
        Self { used: true, ..self }
    }

    pub(super) fn began(self) -> Began {
        Began {
            id: self.id,
            number: self.number,
        }
    }
}

impl LateRecord for Sequence {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend(self.number.to_be_bytes());
        bytes.push(u8::from(self.used));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let [used] = rest else { return None };
        Some(Self {
            id: u64::from_be_bytes(*id),
            number: u64::from_be_bytes(*number),
            used: *used != 0,
        })
    }
}

/// When a load began, by the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Began {
    pub(super) id: u64,
    number: u64,
}

/// The last invalidations of the tags that fall into its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// The id of the sequence.
    pub(super) id: u64,
    /// For each slot, a number that no invalidation of its tags has exceeded. `None` if no such number is known.
    last: [Option<u64>; SLOTS],
}

impl Page {
    /// Creates a page of a sequence that no process can have read so far.
    pub(super) fn begun(id: u64) -> Self {
        Self {
            id,
            last: [Some(0); SLOTS],
        }
    }

    /// Creates the replacement of a page that was lost: any of its tags may have been invalidated at any time.
    pub(super) fn unknown(id: u64) -> Self {
        Self {
            id,
            last: [None; SLOTS],
        }
    }

    /// Returns the page once it is certain that none of its tags was invalidated at a number above `number`.
    pub(super) fn known(mut self, number: u64) -> Self {
        for last in &mut self.last {
            *last = last.or(Some(number));
        }
        self
    }

    pub(super) fn is_known(&self) -> bool {
        self.last.iter().all(Option::is_some)
    }

    /// Returns the page after invalidations at `number` of tags in `slots`. Returns `None` if the page says so already.
    pub(super) fn invalidated(mut self, slots: &[usize], number: u64) -> Option<Self> {
        let mut changed = false;
        for slot in slots {
            match &mut self.last[*slot] {
                Some(last) if *last >= number => {}
                Some(last) => {
                    *last = number;
                    changed = true;
                }
                // Written all the same, so that a process that is about to determine the number has to do so again.
                None => changed = true,
            }
        }
        changed.then_some(self)
    }

    /// Returns whether no tag in `slots` was invalidated since a load began.
    pub(super) fn is_unchanged_since(&self, began: Began, slots: &[usize]) -> bool {
        self.id == began.id
            && slots
                .iter()
                .all(|slot| self.last[*slot].is_some_and(|last| last < began.number))
    }
}

/// Represents `None` in a page's record.
const UNKNOWN: u64 = u64::MAX;

impl LateRecord for Page {
    fn to_bytes(&self) -> Vec<u8> {
        let last = self.last.iter().flat_map(|last| last.unwrap_or(UNKNOWN).to_be_bytes());
        self.id.to_be_bytes().into_iter().chain(last).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, mut rest) = bytes.split_first_chunk()?;
        let mut page = Self::unknown(u64::from_be_bytes(*id));
        for last in &mut page.last {
            let (number, left) = rest.split_first_chunk()?;
            *last = Some(u64::from_be_bytes(*number)).filter(|number| *number != UNKNOWN);
            rest = left;
        }
        rest.is_empty().then_some(page)
    }
}

/// The slots of some tags, by the pages that they are on.
pub(super) type Slots = BTreeMap<usize, Vec<usize>>;

/// Returns the slots of the tags that entries carry as `names`.
pub(super) fn slots<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Slots {
    let mut slots = Slots::new();
    for name in names {
        let hash = hash(name.as_ref());
        let (page, slot) = (hash % PAGES, hash / PAGES % SLOTS);
        let on_page = slots.entry(page).or_default();
        if !on_page.contains(&slot) {
            on_page.push(slot);
        }
    }
    slots
}

/// Returns the same number for the same name in all processes, of all versions: FNV-1a, folded.
fn hash(name: &str) -> usize {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // Only the lowest twelve bits are used.
    usize::from((hash ^ (hash >> 16) ^ (hash >> 32) ^ (hash >> 48)) as u16)
}

/// The timestamp of a record that contains no time.
pub(super) const NO_TIME: Timestamp = Timestamp::from_millis(0);
