//! The tag versions that a load will probably begin with: those that this process saw last.
//!
//! A lease carries the versions of its load's tags. A lease that is acquired with the read of the record cannot wait for
//! their read, so it carries the expected ones. The versions are read with the same call, and the lease counts only if
//! they are as expected: they have not changed since they were seen, so the lease carries what it would have carried.

use cache_core::{Error, Key, Namespace, Tags};

use crate::tags::declared::Declared;
use crate::tags::known::TagVersions;
use crate::tags::lifetime::TagLifetimes;
use crate::tags::name::EPOCHS;
use crate::tags::records::TagRecords;
use crate::tags::snapshot::TagSnapshot;
use crate::tags::version::TagVersion;

/// The tags that a load is expected to begin with.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// The keys of their records.
    keys: Vec<Key>,
    pub(crate) tags: Tags,
    /// Whether the tag cache vouches for all of them, so that a hit need not read them.
    pub(crate) remembered: bool,
    /// Whether they are only those of the key's namespace, which a plain read brings with the record.
    pub(crate) only_epochs: bool,
}

impl Expected {
    /// Returns whether the load depends on no tags.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns what [`read_expected`](TagRecords::read_expected) reads for a load that depends on no tags.
    pub(crate) fn of_no_tags(&self) -> (TagVersions, Option<TagSnapshot>) {
        let snapshot = TagSnapshot::of_expected(self.tags.clone(), TagLifetimes::default());
        (TagVersions::new(), Some(snapshot))
    }
}

impl TagRecords {
    /// Returns the tags that a load with the tags `declared` is expected to begin with. Returns `None` if one of them has
    /// not been seen yet, or if the load may get late tags.
    pub(crate) fn expect(&self, namespace: impl FnOnce() -> Namespace, declared: &Declared) -> Option<Expected> {
        if declared.late {
            return None;
        }
        if !self.by_epoch && declared.names().is_empty() {
            return Some(Expected::default());
        }
        let namespace = namespace();
        let epochs = EPOCHS.into_iter().filter(|_| self.by_epoch);
        let names: Vec<&str> = epochs.chain(declared.names().iter().map(|name| &**name)).collect();
        let keys: Vec<Key> = names.iter().map(|name| self.key(name, &namespace)).collect();
        let seen: Vec<TagVersion> = keys.iter().map(|key| self.seen.get(key)).collect::<Option<_>>()?;
        let remembered = keys.iter().zip(&seen).all(|(key, seen)| {
            self.cache
                .recall(key)
                .is_some_and(|state| state.version == seen.version)
        });
        let tags = Tags::new(names.iter().zip(&seen).map(|(name, seen)| (*name, seen.version))).ok()?;
        Some(Expected {
            keys,
            tags,
            remembered,
            only_epochs: declared.names().is_empty(),
        })
    }

    /// Reads the versions of the tags that are expected. Returns what was read, and the snapshot of a load that began
    /// meanwhile, if all are as expected.
    pub(crate) async fn read_expected(&self, expected: &Expected) -> Result<(TagVersions, Option<TagSnapshot>), Error> {
        let mut known = TagVersions::new();
        let mut lifetimes = TagLifetimes::default();
        let mut as_expected = true;
        if !expected.is_empty() {
            let now = self.clock.now();
            let started = self.cache.begin_read();
            let records = self.store.get_many(&expected.keys).await?;
            for ((key, record), (_, version)) in expected.keys.iter().zip(records).zip(expected.tags.iter()) {
                let state = record.as_ref().and_then(|record| self.decode(record, key));
                if let (Some(state), Some(record)) = (state, record) {
                    self.cache.remember(key, state, started);
                    self.seen.note(key, state);
                    lifetimes.note(key, state, record.version, record.remaining, now);
                }
                as_expected &= state.is_some_and(|state| state.version == version);
                known.insert(key.clone(), state);
            }
        }
        let snapshot = as_expected.then(|| TagSnapshot::of_expected(expected.tags.clone(), lifetimes));
        Ok((known, snapshot))
    }
}
