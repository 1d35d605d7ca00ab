//! The tag snapshot that a load reads before it begins, and the tags that may be added to it.

use std::collections::HashMap;

use cache_core::{Error, Key, Namespace, Record, SetOutcome, Tags};

use crate::tags::attempts::Attempts;
use crate::tags::declared::Declared;
use crate::tags::lifetime::{KEPT, TagLifetimes, kept};
use crate::tags::name::{EPOCHS, TAG, carried};
use crate::tags::records::{TagRecords, Verdict};
use crate::tags::sequence::Began;
use crate::tags::version::{TagVersion, decode};

/// The tag versions that were read before a load began.
#[derive(Debug, Clone, Default)]
pub(crate) struct TagSnapshot {
    /// The tags that the load's entry depends on.
    pub(crate) tags: Tags,
    /// The tags that it depends on in addition if the load finds the stale value still valid.
    of_stale: Tags,
    /// When the load began, if tags may be added after it.
    began: Option<Began>,
    /// When the records of all these tags expire.
    pub(crate) lifetimes: TagLifetimes,
    /// Whether the stale value was invalidated hard.
    ends_stale: bool,
}

impl TagSnapshot {
    /// Returns the snapshot of a load that depends on `tags`.
    pub(super) fn of_expected(tags: Tags, lifetimes: TagLifetimes) -> Self {
        Self {
            tags,
            lifetimes,
            ..Self::default()
        }
    }

    /// Returns whether the stale value is no longer usable.
    pub(crate) fn ends_stale(&self) -> bool {
        self.ends_stale
    }

    /// Returns the tags of an entry that retains the stale value.
    pub(crate) fn of_stale(&self) -> Result<Tags, Error> {
        union(&self.tags, &self.of_stale)
    }
}

/// Returns the union of both lists of tags. A tag that is in both with different versions was invalidated in between.
/// The first list has the earlier version, so the entry will be found outdated.
pub(crate) fn union(tags: &Tags, more: &Tags) -> Result<Tags, Error> {
    if more.is_empty() {
        return Ok(tags.clone());
    }
    let new = more
        .iter()
        .filter(|(name, _)| !tags.iter().any(|(known, _)| known == *name));
    Tags::new(tags.iter().chain(new))
}

impl TagRecords {
    /// Returns the tags that an entry of `namespace` depends on if its load begins now, and the tags that it depends on
    /// in addition if it retains a value with the tags `of_stale`. Writes the records of tags that the store does not
    /// have.
    pub(crate) async fn capture(
        &self,
        namespace: &Namespace,
        declared: &Declared,
        of_stale: Option<&Tags>,
    ) -> Result<TagSnapshot, Error> {
        if !self.by_epoch && !declared.late && declared.names().is_empty() && of_stale.is_none_or(Tags::is_empty) {
            return Ok(TagSnapshot::default());
        }
        let entry = (namespace.clone(), declared, of_stale);
        let mut snapshots = self.capture_all(&[entry]).await?;
        Ok(snapshots.pop().unwrap_or_default())
    }

    /// As [`capture`](Self::capture) for several entries whose loads begin now, in one batch. Each is given by its
    /// namespace, its declared tags, and those of its stale value.
    pub(crate) async fn capture_all(
        &self,
        entries: &[(Namespace, &Declared, Option<&Tags>)],
    ) -> Result<Vec<TagSnapshot>, Error> {
        let late = entries.iter().any(|(_, declared, _)| declared.late);
        let mut keys: Vec<Key> = Vec::new();
        let mut places: HashMap<Key, usize> = HashMap::new();
        let mut wanted = Vec::with_capacity(entries.len());
        for (namespace, declared, of_stale) in entries {
            let mut names: Vec<&str> = Vec::new();
            if self.by_epoch {
                names.extend(EPOCHS);
            }
            names.extend(declared.names().iter().map(|name| &**name));
            let own = names.len();
            for (name, _) in of_stale.iter().flat_map(|tags| tags.iter()) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let at: Vec<usize> = names
                .iter()
                .map(|name| {
                    let key = self.key(name, namespace);
                    *places.entry(key).or_insert_with_key(|key| {
                        keys.push(key.clone());
                        keys.len() - 1
                    })
                })
                .collect();
            wanted.push((names, own, at));
        }
        if keys.is_empty() && !late {
            return Ok(entries.iter().map(|_| TagSnapshot::default()).collect());
        }
        let (states, lifetimes, began) = self.current(&keys, late).await?;
        let mut snapshots = Vec::with_capacity(entries.len());
        let lifetimes = lifetimes.split(wanted.iter().map(|(.., at)| at.iter().map(|at| &keys[*at])));
        for (((_, declared, of_stale), (names, own, at)), lifetimes) in entries.iter().zip(wanted).zip(lifetimes) {
            let versions = at.iter().map(|at| states[*at]);
            let carried = names.iter().zip(versions).map(|(name, state)| (*name, state.version));
            let now = |name: &str| names.iter().position(|known| *known == name).map(|n| states[at[n]]);
            // An invalidation may have come after the read that found the stale value.
            let ends_stale = of_stale.is_some_and(|tags| self.verdict(tags, now) == Verdict::Gone);
            snapshots.push(TagSnapshot {
                tags: Tags::new(carried.clone().take(own))?,
                of_stale: if ends_stale {
                    Tags::default()
                } else {
                    Tags::new(carried.skip(own))?
                },
                began: began.filter(|_| declared.late),
                lifetimes,
                ends_stale,
            });
        }
        Ok(snapshots)
    }

    /// Returns the current versions of the tags `names`, for a load that reads the data they cover from now on.
    pub(crate) async fn capture_named<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(Tags, TagLifetimes), Error> {
        let mut distinct: Vec<Box<str>> = Vec::new();
        for name in names {
            let name = carried(name.as_ref());
            if !distinct.iter().any(|known| **known == *name) {
                distinct.push(name.into());
            }
        }
        let names = distinct;
        if names.is_empty() {
            return Ok((Tags::default(), TagLifetimes::default()));
        }
        let keys: Vec<Key> = names.iter().map(|name| self.own(TAG).key(&**name)).collect();
        let (states, lifetimes, _) = self.current(&keys, false).await?;
        let tags = Tags::new(names.iter().zip(states.iter().map(|state| state.version)))?;
        Ok((tags, lifetimes))
    }

    /// As [`capture_named`](Self::capture_named), for the names as entries carry them.
    pub(crate) async fn capture_carried(&self, names: &[Box<str>]) -> Result<Tags, Error> {
        let keys: Vec<Key> = names.iter().map(|name| self.own(TAG).key(&**name)).collect();
        let (states, ..) = self.current(&keys, false).await?;
        Tags::new(names.iter().zip(states.iter().map(|state| state.version)))
    }

    /// Returns the tags `names` as they were when a load began that has now ended. Returns `None` if one of them was
    /// invalidated during the load, or if that is not certain.
    pub(crate) async fn capture_late<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
        captured: &TagSnapshot,
    ) -> Result<Option<(Tags, TagLifetimes)>, Error> {
        let (tags, lifetimes) = self.capture_named(names).await?;
        if tags.is_empty() {
            return Ok(Some((tags, lifetimes)));
        }
        let Some(began) = captured.began else {
            return Ok(None);
        };
        // Read after the tags, since an invalidation is recorded there before it replaces a tag.
        let names: Vec<&str> = tags.iter().map(|(name, _)| name).collect();
        let unchanged = self.unchanged_since(began, &names).await?;
        Ok(unchanged.then_some((tags, lifetimes)))
    }

    /// Returns the versions in the records of `keys`, and when the records expire. Writes the records that do not
    /// exist. For a load that may get `late` tags, also returns when the load begins, which is read in the same batch.
    async fn current(&self, keys: &[Key], late: bool) -> Result<(Vec<TagVersion>, TagLifetimes, Option<Began>), Error> {
        let now = self.clock.now();
        let started = self.cache.begin_read();
        let sequence = late.then(|| self.sequence());
        let all: Vec<Key> = keys.iter().chain(&sequence).cloned().collect();
        let mut records = self.store.get_many(&all).await?;
        let found_sequence = if late { records.pop().flatten() } else { None };
        let mut lifetimes = TagLifetimes::default();
        let mut states: Vec<Option<TagVersion>> = Vec::with_capacity(keys.len());
        let mut missing: Vec<(usize, Option<Record>)> = Vec::new();
        for (at, (key, record)) in keys.iter().zip(records).enumerate() {
            let state = record.as_ref().and_then(|record| decode(record, key));
            match (state, record) {
                (Some(state), Some(record)) => {
                    self.cache.remember(key, state, started);
                    self.seen.note(key, state);
                    lifetimes.note(key, state, record.version, record.remaining, now);
                }
                (_, record) => missing.push((at, record)),
            }
            states.push(state);
        }
        if !missing.is_empty() {
            Box::pin(self.begin(keys, missing, &mut states, &mut lifetimes)).await?;
        }
        self.prolong_for_start(&lifetimes).await;
        let began = if late {
            self.begin_late(found_sequence).await
        } else {
            None
        };
        Ok((states.into_iter().flatten().collect(), lifetimes, began))
    }

    /// Writes the records that are `missing`, over what was found in their place.
    async fn begin(
        &self,
        keys: &[Key],
        mut missing: Vec<(usize, Option<Record>)>,
        states: &mut [Option<TagVersion>],
        lifetimes: &mut TagLifetimes,
    ) -> Result<(), Error> {
        let mut attempts = Attempts::default();
        while !missing.is_empty() {
            attempts.begin()?;
            let now = self.clock.now();
            let mut entries = Vec::with_capacity(missing.len());
            let mut begun = Vec::with_capacity(missing.len());
            for (at, found) in &missing {
                let state = TagVersion::begun(now);
                let options = match found {
                    None => kept().if_absent(),
                    // Another kind of record is stored there.
                    Some(other) => kept().if_version(other.version),
                };
                entries.push((keys[*at].clone(), self.encode(&keys[*at], state)?, options));
                begun.push(state);
            }
            let started = self.cache.begin_read();
            let outcomes = self.store.set_many(entries).await?;
            let mut refused = Vec::new();
            for (((at, _), state), outcome) in missing.into_iter().zip(begun).zip(outcomes) {
                match outcome {
                    SetOutcome::Stored(version) => {
                        self.cache.remember(&keys[at], state, started);
                        self.seen.note(&keys[at], state);
                        lifetimes.note(&keys[at], state, version, Some(KEPT), now);
                        states[at] = Some(state);
                    }
                    // Another writer was faster.
                    SetOutcome::Refused => refused.push(at),
                }
            }
            missing = Vec::new();
            if refused.is_empty() {
                break;
            }
            let others: Vec<Key> = refused.iter().map(|at| keys[*at].clone()).collect();
            for (at, record) in refused.into_iter().zip(self.store.get_many(&others).await?) {
                match record.as_ref().and_then(|record| decode(record, &keys[at])) {
                    Some(state) => {
                        if let Some(record) = record {
                            lifetimes.note(&keys[at], state, record.version, record.remaining, now);
                        }
                        states[at] = Some(state);
                    }
                    None => missing.push((at, record)),
                }
            }
        }
        Ok(())
    }
}
