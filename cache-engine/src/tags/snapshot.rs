//! What a load captures before it begins, and what it may add.

use cache_core::{Error, Key, Namespace, SetOptions, SetOutcome, Tags, Ttl, Version};

use crate::tags::declared::Declared;
use crate::tags::name::{EPOCHS, TAG, carried};
use crate::tags::records::{TagRecords, Verdict};
use crate::tags::version::{TagVersion, decode};

/// What was read before a load began.
#[derive(Debug, Clone, Default)]
pub(crate) struct TagSnapshot {
    /// What its entry depends on.
    pub(crate) tags: Tags,
    /// What it depends on beyond that if the load finds the stale value to be still good.
    of_stale: Tags,
    /// The roll, if tags may be added afterwards.
    roll: Option<Version>,
    /// The stale value was invalidated, and not only softly.
    ends_stale: bool,
}

impl TagSnapshot {
    /// Whether the stale value is of no use any more.
    pub(crate) fn ends_stale(&self) -> bool {
        self.ends_stale
    }

    /// The tags of an entry that keeps the stale value.
    pub(crate) fn of_stale(&self) -> Result<Tags, Error> {
        union(&self.tags, &self.of_stale)
    }
}

/// Both lists of tags in one. A tag that is in both with different versions was invalidated in between: as the first
/// list has the earlier version, the entry will be found out of date.
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
    /// What an entry of `namespace` whose load begins now depends on, and what it would depend on beyond that if it
    /// kept a value with the tags `of_stale`. Tags that the store does not have are begun anew.
    pub(crate) async fn capture(
        &self,
        namespace: &Namespace,
        declared: &Declared,
        of_stale: Option<&Tags>,
    ) -> Result<TagSnapshot, Error> {
        let mut names: Vec<&str> = Vec::new();
        if self.by_epoch {
            names.extend(EPOCHS);
        }
        names.extend(declared.names().iter().map(|name| &**name));
        let own = names.len();
        if let Some(tags) = of_stale {
            for (name, _) in tags.iter() {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        if names.is_empty() && !declared.late {
            return Ok(TagSnapshot::default());
        }
        let mut keys: Vec<Key> = names.iter().map(|name| self.key(name, namespace)).collect();
        if declared.late {
            keys.push(self.roll());
        }
        let states = self.current(&keys).await?;
        let carried = names.iter().zip(&states).map(|(name, state)| (*name, state.version));
        let now = |name: &str| names.iter().position(|known| *known == name).map(|at| states[at]);
        // An invalidation may have come after the look that showed the stale value.
        let ends_stale = of_stale.is_some_and(|tags| self.verdict(tags, now) == Verdict::Gone);
        Ok(TagSnapshot {
            tags: Tags::new(carried.clone().take(own))?,
            of_stale: if ends_stale {
                Tags::default()
            } else {
                Tags::new(carried.skip(own))?
            },
            roll: declared
                .late
                .then(|| states.last().map(|state| state.version))
                .flatten(),
            ends_stale,
        })
    }

    /// The tags `names` as they are now, for a load that reads what they cover from now on.
    pub(crate) async fn capture_named<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<Tags, Error> {
        let mut distinct: Vec<Box<str>> = Vec::new();
        for name in names {
            let name = carried(name.as_ref());
            if !distinct.iter().any(|known| **known == *name) {
                distinct.push(name.into());
            }
        }
        let names = distinct;
        if names.is_empty() {
            return Ok(Tags::default());
        }
        let keys: Vec<Key> = names.iter().map(|name| self.own(TAG).key(&**name)).collect();
        let states = self.current(&keys).await?;
        Tags::new(names.iter().zip(states.iter().map(|state| state.version)))
    }

    /// The tags `names` for a load that is over, as they were when it began. `None` if a tag, whichever, was
    /// invalidated meanwhile.
    pub(crate) async fn capture_late<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
        captured: &TagSnapshot,
    ) -> Result<Option<Tags>, Error> {
        let tags = self.capture_named(names).await?;
        if tags.is_empty() {
            return Ok(Some(tags));
        }
        let Some(roll) = captured.roll else {
            return Ok(None);
        };
        // After the tags, since whoever invalidates one replaces the roll before it.
        let key = self.roll();
        let now = self.store.get(&key).await?.and_then(|record| decode(&record, &key));
        Ok(now.is_some_and(|now| now.version == roll).then_some(tags))
    }

    /// What the records of `keys` say, which are written where there are none.
    async fn current(&self, keys: &[Key]) -> Result<Vec<TagVersion>, Error> {
        let asked = self.cache.ask();
        let mut states = Vec::with_capacity(keys.len());
        for (key, record) in keys.iter().zip(self.store.get_many(keys).await?) {
            let state = match record.and_then(|record| decode(&record, key)) {
                Some(state) => {
                    self.cache.remember(key, state, asked);
                    state
                }
                None => self.begin(key).await?,
            };
            states.push(state);
        }
        Ok(states)
    }

    async fn begin(&self, key: &Key) -> Result<TagVersion, Error> {
        let options = SetOptions::new(Ttl::FOREVER);
        let mut condition = options.if_absent();
        loop {
            let state = TagVersion::begun(self.clock.now());
            let asked = self.cache.ask();
            if let SetOutcome::Stored(_) = self.write(key, state, condition).await? {
                self.cache.remember(key, state, asked);
                return Ok(state);
            }
            condition = match self.store.get(key).await? {
                None => options.if_absent(),
                Some(record) => match decode(&record, key) {
                    // Somebody else was faster.
                    Some(state) => return Ok(state),
                    // Something else stands there.
                    None => options.if_version(record.version),
                },
            };
        }
    }
}
