//! What the table holds: keys with their hash, records with their deadline, and how much both weigh.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Key, Prefix, Record, Timestamp, Ttl, Value, Version};
use quick_cache::{Equivalent, Lifecycle, Weighter};
use smallvec::SmallVec;

/// A key in the table. The index of deadlines shares it.
#[derive(Debug, Clone)]
pub(crate) struct StoredKey {
    hash: u64,
    key: Arc<Key>,
}

impl StoredKey {
    pub(crate) fn new(lookup: &Lookup<'_>) -> Self {
        Self {
            hash: lookup.hash,
            key: Arc::new(lookup.key.clone()),
        }
    }

    /// The key of the ballast; `!` keeps it apart from every key with a name that a user chose.
    pub(crate) fn ballast() -> Self {
        Self {
            hash: 0,
            key: Arc::new(Prefix::new("").namespace("").reserved("ballast").key("")),
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

impl PartialEq for StoredKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.key == other.key
    }
}

impl Eq for StoredKey {}

impl Hash for StoredKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A key that is looked for, hashed once for the choice of the shard and for the shard's table.
#[derive(Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) hash: u64,
    pub(crate) key: &'a Key,
}

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<StoredKey> for Lookup<'_> {
    fn equivalent(&self, stored: &StoredKey) -> bool {
        self.hash == stored.hash && *self.key == *stored.key
    }
}

/// Hands on the hash that the key already carries.
#[derive(Debug, Default)]
pub(crate) struct PassThrough(u64);

impl Hasher for PassThrough {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type PassThroughBuilder = BuildHasherDefault<PassThrough>;

/// The point in time, in milliseconds, from which on a record is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

impl Deadline {
    const NEVER: Self = Self(u64::MAX);
    /// Not the deadline of any record: a lifetime is at least one millisecond.
    const BALLAST: Self = Self(0);

    pub(crate) fn after(ttl: Ttl, now: Timestamp) -> Self {
        ttl.as_duration()
            .map_or(Self::NEVER, |ttl| Self((now + ttl).as_millis()))
    }

    pub(crate) fn as_millis(self) -> Option<u64> {
        (self != Self::NEVER).then_some(self.0)
    }

    pub(crate) fn is_past(self, now: Timestamp) -> bool {
        self != Self::NEVER && self.0 <= now.as_millis()
    }
}

/// A record in the table.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) value: Value,
    pub(crate) version: Version,
    pub(crate) deadline: Deadline,
    pub(crate) weight: u64,
    /// Not to be evicted.
    pub(crate) pinned: bool,
}

impl Stored {
    /// Something that is not a record, only as heavy as one.
    pub(crate) fn ballast(weight: u64) -> Self {
        Self {
            value: Value::Bytes(Default::default()),
            version: Version::from_u128(0),
            deadline: Deadline::BALLAST,
            weight,
            pinned: true,
        }
    }

    fn is_ballast(&self) -> bool {
        self.deadline == Deadline::BALLAST
    }

    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        !self.deadline.is_past(now)
    }

    /// The record as the caller sees it. The clock is read only if the record has a deadline.
    pub(crate) fn into_record(self, now: impl FnOnce() -> Timestamp) -> Option<Record> {
        let remaining = match self.deadline.as_millis() {
            None => None,
            Some(deadline) => {
                let left = deadline.saturating_sub(now().as_millis());
                if left == 0 {
                    return None;
                }
                Some(Duration::from_millis(left))
            }
        };
        Some(Record::new(self.value, self.version, remaining))
    }
}

/// What a record weighs to the table: its bytes, and on top of them what makes the largest number of records weigh as
/// much as the largest number of bytes. So the table keeps the sections of its policy in proportion, whichever of the
/// two bounds is reached first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableWeight {
    pub(crate) surcharge: u64,
}

impl Weighter<StoredKey, Stored> for TableWeight {
    fn weight(&self, _: &StoredKey, stored: &Stored) -> u64 {
        if stored.is_ballast() {
            stored.weight
        } else {
            stored.weight + self.surcharge
        }
    }
}

type Pair = (StoredKey, Stored);

/// Entries that have left the table. They are dropped, and listeners told of them, when no lock is held any more.
#[derive(Debug, Default)]
pub(crate) struct Released {
    /// Given up to make room.
    pub(crate) evicted: SmallVec<[Pair; 1]>,
    /// Replaced, removed or expired.
    pub(crate) ended: SmallVec<[Pair; 1]>,
}

/// Lets the table evict what is not pinned, and collects it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EvictionPolicy;

impl Lifecycle<StoredKey, Stored> for EvictionPolicy {
    type RequestState = Released;

    fn is_pinned(&self, _: &StoredKey, stored: &Stored) -> bool {
        stored.pinned
    }

    fn on_evict(&self, released: &mut Released, key: StoredKey, stored: Stored) {
        released.evicted.push((key, stored));
    }
}
