//! The tag versions that a read has found out so far.

use std::collections::HashMap;

use cache_core::{Key, Tags};

use crate::tags::name::EPOCHS;
use crate::tags::version::TagVersion;

/// How many versions are looked through one by one. That takes less than to hash a key.
const FEW: usize = 8;

/// Tag versions by the keys of their records. `None` stands for a record that the store does not have.
#[derive(Debug, Default)]
pub(crate) struct TagVersions {
    first: Vec<(Key, Option<TagVersion>)>,
    others: HashMap<Key, Option<TagVersion>>,
    /// Whether the first of them are the [epochs](EPOCHS) of the key that is read.
    starts_with_epochs: bool,
}

impl TagVersions {
    /// Returns no versions.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Adds a version, or replaces it.
    pub(super) fn insert(&mut self, key: Key, state: Option<TagVersion>) {
        if let Some((_, known)) = self.first.iter_mut().find(|(known, _)| *known == key) {
            *known = state;
        } else if self.first.len() < FEW {
            self.first.push((key, state));
        } else {
            self.others.insert(key, state);
        }
    }

    /// Returns what is known of the record of `key`, or `None` if nothing is.
    pub(super) fn get(&self, key: &Key) -> Option<Option<TagVersion>> {
        let first = self.first.iter().find(|(known, _)| known == key);
        first.map(|(_, state)| *state).or_else(|| self.others.get(key).copied())
    }

    /// Returns the current version of the record of `key`, if it is known and there is one.
    pub(super) fn current(&self, key: &Key) -> Option<TagVersion> {
        self.get(key).flatten()
    }

    /// Notes that what was added first are the epochs of the key that is read. They are in the order of [`EPOCHS`] if their
    /// keys were all those that [`add_epochs_to_read`](crate::tags::records::TagRecords::add_epochs_to_read) adds.
    pub(crate) fn start_with_epochs(&mut self) {
        self.starts_with_epochs = self.first.len() >= EPOCHS.len();
    }

    /// Returns whether an entry of the key that is read carries its epochs and nothing else, and both are current. Most
    /// entries do, and need no keys of records to be made then.
    pub(crate) fn are_current_epochs(&self, tags: &Tags) -> bool {
        if !self.starts_with_epochs {
            return false;
        }
        let mut carried = tags.iter();
        let are_current = EPOCHS.iter().zip(&self.first).all(|(epoch, (_, state))| {
            carried
                .next()
                .is_some_and(|(name, version)| name == *epoch && state.is_some_and(|state| state.version == version))
        });
        are_current && carried.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{Prefix, Timestamp, Version};

    use super::*;

    fn state(version: u128) -> TagVersion {
        TagVersion {
            version: Version::from_u128(version),
            since: Timestamp::from_millis(0),
        }
    }

    fn key(number: usize) -> Key {
        Prefix::new("p").namespace("n").key(number.to_string())
    }

    #[test]
    fn many_versions_are_found_like_few() {
        let mut known = TagVersions::new();
        for number in 0..3 * FEW {
            assert_eq!(known.get(&key(number)), None);
            known.insert(key(number), None);
            assert_eq!(known.get(&key(number)), Some(None));
            known.insert(key(number), Some(state(number as u128)));
        }
        for number in 0..3 * FEW {
            assert_eq!(known.current(&key(number)), Some(state(number as u128)));
        }
    }

    #[test]
    fn only_the_epochs_that_were_read_speak_for_an_entry() {
        let [namespace, prefix] = EPOCHS;
        let tags = |tags: &[(&str, u128)]| {
            Tags::new(tags.iter().map(|(name, version)| (*name, Version::from_u128(*version)))).unwrap()
        };
        let mut known = TagVersions::new();
        known.insert(key(0), Some(state(1)));
        known.start_with_epochs();
        assert!(!known.are_current_epochs(&tags(&[(namespace, 1)])), "one of two");
        known.insert(key(1), Some(state(2)));
        assert!(
            !known.are_current_epochs(&tags(&[(namespace, 1), (prefix, 2)])),
            "other records"
        );
        known.start_with_epochs();
        known.insert(key(2), Some(state(3)));
        assert!(known.are_current_epochs(&tags(&[(namespace, 1), (prefix, 2)])));
        for other in [
            &[][..],
            &[(namespace, 1)],
            &[(namespace, 1), (prefix, 3)],
            &[(namespace, 2), (prefix, 1)],
            &[(prefix, 1), (namespace, 2)],
            &[(namespace, 1), (prefix, 2), ("tag", 3)],
        ] {
            assert!(!known.are_current_epochs(&tags(other)), "{other:?}");
        }
        known.insert(key(1), None);
        assert!(
            !known.are_current_epochs(&tags(&[(namespace, 1), (prefix, 2)])),
            "a record that is gone"
        );
    }
}
