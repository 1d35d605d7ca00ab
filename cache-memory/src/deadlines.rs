//! The index by which expired records are found without being read.

use std::collections::BTreeMap;

use cache_core::Timestamp;

use crate::entry::{Stored, StoredKey};

/// The records that have a deadline, the earliest first. It follows the table exactly: a record that leaves the table
/// for any reason leaves the index in the same critical section.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeMap<(u64, u128), StoredKey>);

impl Deadlines {
    pub(crate) fn insert(&mut self, key: &StoredKey, stored: &Stored) {
        if let Some(deadline) = stored.deadline.as_millis() {
            self.0.insert((deadline, stored.version.as_u128()), key.clone());
        }
    }

    pub(crate) fn remove(&mut self, stored: &Stored) {
        if let Some(deadline) = stored.deadline.as_millis() {
            self.0.remove(&(deadline, stored.version.as_u128()));
        }
    }

    pub(crate) fn earliest(&self) -> Option<u64> {
        self.0.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Takes the earliest record out of the index if it is past its deadline.
    pub(crate) fn pop_past(&mut self, now: Timestamp) -> Option<StoredKey> {
        let first = self.0.first_entry()?;
        (first.key().0 <= now.as_millis()).then(|| first.remove())
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
