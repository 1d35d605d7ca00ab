//! What puts entries out of date beside time: the tags that they carry.
//!
//! A tag has one record in the store: a pair of random versions, one that a hard invalidation replaces and one that a
//! soft invalidation does. An entry carries the pairs that were read before its load began. If the hard one is another
//! now, or the record is gone, the entry is of no use; if only the soft one is, it is stale. So an invalidation costs
//! one record, whatever the number of entries, holds for loads that are under way, and involves no clock.
//!
//! Where a store cannot enumerate its records, namespaces are cleared in the same way: each has a tag that all of its
//! entries carry, its epoch, and so has everything below the prefix.
//!
//! A load that learns its tags only from what it loaded cannot have read them before. It captures, when it begins, the
//! record that every invalidation of a tag replaces *first*, the roll. If that is the same afterwards, no tag was
//! invalidated meanwhile, and what the tags say now they said then.

mod memo;

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    Clock, EntryKind, Envelope, Error, Key, Namespace, Prefix, Record, Scope, SetOptions, SetOutcome, SharedValue,
    Tags, Timestamp, Ttl, Value, Version, Windows,
};
use tokio::time::Instant;

use self::memo::Memo;
use crate::store::Store;

/// The names under which an entry carries its epochs.
const EPOCHS: [&str; 2] = ["\u{0}namespace", "\u{0}prefix"];

/// What the record of a tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// The hard and the soft version, in one.
    version: Version,
    /// When it was written, by the clock of its writer.
    since: Timestamp,
}

impl State {
    fn new(hard: u64, soft: u64, since: Timestamp) -> Self {
        let version = Version::from_u128((u128::from(hard) << 64) | u128::from(soft));
        Self { version, since }
    }

    fn begun(now: Timestamp) -> Self {
        Self::new(random(), random(), now)
    }

    /// As after a soft invalidation.
    fn softened(self, now: Timestamp) -> Self {
        Self::new(hard(self.version), random(), now)
    }
}

fn hard(version: Version) -> u64 {
    (version.as_u128() >> 64) as u64
}

/// 64 random bits. `RandomState` takes its keys from the operating system.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// What its tags make of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Current,
    /// Softly invalidated, at this time by the clock of whoever did it.
    Stale(Timestamp),
    /// Of no use to anybody.
    Gone,
}

/// The tags of the entries of a handle, as they were declared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    /// As entries carry them.
    names: Option<Arc<[Box<str>]>>,
    /// Loads may add tags afterwards.
    pub(crate) late: bool,
}

impl Declared {
    /// These and `names`.
    pub(crate) fn with<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Self {
        let mut all: Vec<Box<str>> = self.names().to_vec();
        for name in names {
            let name = carried(name.as_ref());
            if !all.iter().any(|known| **known == *name) {
                all.push(name.into());
            }
        }
        Self {
            names: (!all.is_empty()).then(|| all.into()),
            late: self.late,
        }
    }

    fn names(&self) -> &[Box<str>] {
        self.names.as_deref().unwrap_or_default()
    }
}

/// The name under which an entry carries a tag: itself, unless it could be taken for an epoch.
fn carried(name: &str) -> Cow<'_, str> {
    if name.starts_with('\0') {
        Cow::Owned(format!("\0{name}"))
    } else {
        Cow::Borrowed(name)
    }
}

/// What was read before a load began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Captured {
    /// What its entry depends on.
    pub(crate) tags: Tags,
    /// What it depends on beyond that if the load finds the stale value to be still good.
    of_stale: Tags,
    /// The roll, if tags may be added afterwards.
    roll: Option<Version>,
}

impl Captured {
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

/// The records of tags, and of the epochs, of one store.
#[derive(Debug)]
pub(crate) struct Tagging {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    prefix: Prefix,
    /// Namespaces are cleared by their epochs.
    by_epoch: bool,
    memo: Memo,
}

/// States that are known, by the keys of their records; `None` for one that the store does not have.
pub(crate) type States = HashMap<Key, Option<State>>;

impl Tagging {
    /// The records of `store`. They are remembered for `remembered`, which may be zero.
    pub(crate) fn new(
        store: &Arc<Store>,
        clock: &Arc<dyn Clock>,
        prefix: &Prefix,
        by_epoch: bool,
        remembered: Duration,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            prefix: prefix.clone(),
            by_epoch: by_epoch || !store.backend().capabilities().clear,
            memo: Memo::new(remembered),
        }
    }

    /// Whether namespaces are cleared by their epochs.
    pub(crate) fn clears_by_epoch(&self) -> bool {
        self.by_epoch
    }

    /// Whether what an entry with `tags` is worth must be found out at all.
    #[inline]
    pub(crate) fn concerns(&self, tags: &Tags) -> bool {
        self.by_epoch || !tags.is_empty()
    }

    /// The key of the record of a tag that an entry of `namespace` carries as `name`.
    fn key(&self, name: &str, namespace: &Namespace) -> Key {
        match name {
            "\u{0}namespace" => namespace.reserved("epoch").key(""),
            "\u{0}prefix" => self.own("epoch-of-all").key(""),
            name => self.own("tag").key(name),
        }
    }

    fn roll(&self) -> Key {
        self.own("tags").key("")
    }

    fn own(&self, kind: &str) -> Namespace {
        self.prefix.namespace("").reserved(kind)
    }

    /// The keys of the epochs of `namespace`, without those that are remembered, which are put into `known`. None if
    /// there are no epochs.
    pub(crate) fn epochs_to_read(&self, namespace: &Namespace, known: &mut States) -> Vec<Key> {
        if !self.by_epoch {
            return Vec::new();
        }
        let keys = EPOCHS.map(|name| self.key(name, namespace));
        self.not_remembered(keys, known)
    }

    /// What of `keys` is neither known nor remembered; what is remembered becomes known.
    fn not_remembered(&self, keys: impl IntoIterator<Item = Key>, known: &mut States) -> Vec<Key> {
        let mut unknown = Vec::new();
        for key in keys {
            if known.contains_key(&key) || unknown.contains(&key) {
                continue;
            }
            match self.memo.recall(&key) {
                Some(state) => {
                    known.insert(key, Some(state));
                }
                None => unknown.push(key),
            }
        }
        unknown
    }

    /// Takes note of what the records of `keys`, asked for at `asked`, say.
    pub(crate) fn learn(
        &self,
        keys: Vec<Key>,
        records: impl IntoIterator<Item = Option<Record>>,
        asked: Instant,
        known: &mut States,
    ) {
        for (key, record) in keys.into_iter().zip(records) {
            let state = record.and_then(|record| decode(&record, &key));
            if let Some(state) = state {
                self.memo.remember(&key, state, asked);
            }
            known.insert(key, state);
        }
    }

    /// What their tags make of entries, with what is known already.
    pub(crate) async fn judge_many<'a>(
        &self,
        entries: impl Iterator<Item = (&'a Namespace, &'a Tags)> + Clone + Send,
        known: &mut States,
    ) -> Result<Vec<Verdict>, Error> {
        let keys: Vec<Key> = entries
            .clone()
            .flat_map(|(namespace, tags)| tags.iter().map(|(name, _)| self.key(name, namespace)))
            .collect();
        let unknown = self.not_remembered(keys, known);
        self.read(unknown, known).await?;
        Ok(entries
            .map(|(namespace, tags)| {
                self.verdict(tags, |name| known.get(&self.key(name, namespace)).copied().flatten())
            })
            .collect())
    }

    /// What its tags make of an entry of `namespace`, with what is known already.
    pub(crate) async fn judge(&self, namespace: &Namespace, tags: &Tags, known: &mut States) -> Result<Verdict, Error> {
        if !self.concerns(tags) {
            return Ok(Verdict::Current);
        }
        let keys: Vec<Key> = tags.iter().map(|(name, _)| self.key(name, namespace)).collect();
        let unknown = self.not_remembered(keys, known);
        self.read(unknown, known).await?;
        Ok(self.verdict(tags, |name| known.get(&self.key(name, namespace)).copied().flatten()))
    }

    /// As [`judge`](Self::judge), by what the store says now, whatever is remembered.
    pub(crate) async fn judge_now(&self, namespace: &Namespace, tags: &Tags) -> Result<Verdict, Error> {
        if !self.concerns(tags) {
            return Ok(Verdict::Current);
        }
        let mut known = States::new();
        let keys = tags.iter().map(|(name, _)| self.key(name, namespace)).collect();
        self.read(keys, &mut known).await?;
        Ok(self.verdict(tags, |name| known.get(&self.key(name, namespace)).copied().flatten()))
    }

    /// Whether nothing that an entry of `namespace` depends on has changed. If that cannot be found out, it counts as
    /// changed.
    pub(crate) async fn still_current(&self, namespace: &Namespace, tags: &Tags) -> bool {
        matches!(self.judge_now(namespace, tags).await, Ok(Verdict::Current))
    }

    /// Whether a stale copy with `tags` may still be used. If that cannot be found out, it may not.
    pub(crate) async fn still_usable(&self, namespace: &Namespace, tags: &Tags) -> bool {
        matches!(
            self.judge_now(namespace, tags).await,
            Ok(Verdict::Current | Verdict::Stale(_))
        )
    }

    fn verdict(&self, tags: &Tags, state_of: impl Fn(&str) -> Option<State>) -> Verdict {
        let carries = |epoch: &str| tags.iter().any(|(name, _)| name == epoch);
        if self.by_epoch && !EPOCHS.iter().all(|epoch| carries(epoch)) {
            return Verdict::Gone;
        }
        let mut verdict = Verdict::Current;
        for (name, carried) in tags.iter() {
            match state_of(name) {
                Some(state) if state.version == carried => {}
                Some(state) if hard(state.version) == hard(carried) => {
                    verdict = match verdict {
                        Verdict::Stale(since) => Verdict::Stale(since.min(state.since)),
                        _ => Verdict::Stale(state.since),
                    };
                }
                _ => return Verdict::Gone,
            }
        }
        verdict
    }

    async fn read(&self, keys: Vec<Key>, known: &mut States) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let asked = Instant::now();
        let records = self.store.get_many(&keys).await?;
        self.learn(keys, records, asked, known);
        Ok(())
    }

    /// What an entry of `namespace` whose load begins now depends on, and what it would depend on beyond that if it
    /// kept a value with the tags `of_stale`. Tags that the store does not have are begun anew.
    pub(crate) async fn capture(
        &self,
        namespace: &Namespace,
        declared: &Declared,
        of_stale: Option<&Tags>,
    ) -> Result<Captured, Error> {
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
            return Ok(Captured::default());
        }
        let mut keys: Vec<Key> = names.iter().map(|name| self.key(name, namespace)).collect();
        if declared.late {
            keys.push(self.roll());
        }
        let versions = self.current(&keys).await?;
        let carried = names.iter().zip(&versions).map(|(name, version)| (*name, *version));
        Ok(Captured {
            tags: Tags::new(carried.clone().take(own))?,
            of_stale: Tags::new(carried.skip(own))?,
            roll: declared.late.then(|| versions.last().copied()).flatten(),
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
        let keys: Vec<Key> = names.iter().map(|name| self.own("tag").key(&**name)).collect();
        let versions = self.current(&keys).await?;
        Tags::new(names.iter().zip(versions))
    }

    /// The tags `names` for a load that is over, as they were when it began. `None` if a tag, whichever, was
    /// invalidated meanwhile.
    pub(crate) async fn capture_late<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
        captured: &Captured,
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

    /// The versions in the records of `keys`, which are written where there are none.
    async fn current(&self, keys: &[Key]) -> Result<Vec<Version>, Error> {
        let asked = Instant::now();
        let mut versions = Vec::with_capacity(keys.len());
        for (key, record) in keys.iter().zip(self.store.get_many(keys).await?) {
            let state = match record.and_then(|record| decode(&record, key)) {
                Some(state) => {
                    self.memo.remember(key, state, asked);
                    state
                }
                None => self.begin(key).await?,
            };
            versions.push(state.version);
        }
        Ok(versions)
    }

    async fn begin(&self, key: &Key) -> Result<State, Error> {
        let options = SetOptions::new(Ttl::FOREVER);
        let mut condition = options.if_absent();
        loop {
            let state = State::begun(self.clock.now());
            if let SetOutcome::Stored(_) = self.write(key, state, condition).await? {
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

    /// Invalidates tags: every entry that carries one of them is out of use from now on, or stale if `soft`.
    pub(crate) async fn invalidate<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
        soft: bool,
    ) -> Result<(), Error> {
        let keys: Vec<Key> = names
            .into_iter()
            .map(|name| self.own("tag").key(carried(name.as_ref()).as_ref()))
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        if soft {
            // The roll is replaced before any of the tags.
            let roll = self.roll();
            let (roll, records) = tokio::join!(self.end(&roll), self.store.get_many(&keys));
            roll?;
            self.soften(keys, records?).await
        } else {
            self.end(&self.roll()).await?;
            self.end_many(keys).await
        }
    }

    /// Ends the epoch of a namespace, or of everything below the prefix: every entry that carries it is out of use, or
    /// stale if `soft`.
    pub(crate) async fn end_epoch(&self, namespace: Option<&Namespace>, soft: bool) -> Result<(), Error> {
        let key = match namespace {
            Some(namespace) => self.key(EPOCHS[0], namespace),
            None => self.own("epoch-of-all").key(""),
        };
        if soft {
            let record = self.store.get(&key).await?;
            self.soften(vec![key], vec![record]).await
        } else {
            self.end(&key).await
        }
    }

    async fn end(&self, key: &Key) -> Result<(), Error> {
        let state = State::begun(self.clock.now());
        // Written over whatever was there, so never refused.
        let _ = self.write(key, state, SetOptions::new(Ttl::FOREVER)).await?;
        Ok(())
    }

    async fn end_many(&self, keys: Vec<Key>) -> Result<(), Error> {
        if let [key] = &keys[..] {
            return self.end(key).await;
        }
        let states: Vec<State> = keys.iter().map(|_| State::begun(self.clock.now())).collect();
        let entries = keys.iter().zip(&states);
        let entries =
            entries.map(|(key, state)| Ok((key.clone(), self.encode(key, *state)?, SetOptions::new(Ttl::FOREVER))));
        self.store.set_many(entries.collect::<Result<_, Error>>()?).await?;
        for (key, state) in keys.iter().zip(states) {
            self.memo.replace(key, state);
        }
        Ok(())
    }

    /// Replaces the soft versions in the records of `keys`. A tag without a record has no entries that are of use, but
    /// may have loads that are just about to begin it.
    async fn soften(&self, mut keys: Vec<Key>, mut records: Vec<Option<Record>>) -> Result<(), Error> {
        loop {
            let mut entries = Vec::with_capacity(keys.len());
            let mut states = Vec::with_capacity(keys.len());
            for (key, record) in keys.iter().zip(&records) {
                let now = self.clock.now();
                let options = SetOptions::new(Ttl::FOREVER);
                let (state, options) = match record {
                    None => (State::begun(now), options.if_absent()),
                    Some(record) => (
                        decode(record, key).map_or_else(|| State::begun(now), |state| state.softened(now)),
                        options.if_version(record.version),
                    ),
                };
                entries.push((key.clone(), self.encode(key, state)?, options));
                states.push(state);
            }
            let outcomes = self.store.set_many(entries).await?;
            let mut refused = Vec::new();
            for ((key, state), outcome) in keys.into_iter().zip(states).zip(outcomes) {
                match outcome {
                    SetOutcome::Stored(_) => self.memo.replace(&key, state),
                    // Invalidated by somebody else just now, perhaps hard: seen, and done again.
                    SetOutcome::Refused => refused.push(key),
                }
            }
            if refused.is_empty() {
                return Ok(());
            }
            records = self.store.get_many(&refused).await?;
            keys = refused;
        }
    }

    async fn write(&self, key: &Key, state: State, options: SetOptions) -> Result<SetOutcome, Error> {
        let outcome = self.store.set(key, self.encode(key, state)?, options).await?;
        if let SetOutcome::Stored(_) = outcome {
            self.memo.replace(key, state);
        }
        Ok(outcome)
    }

    fn encode(&self, key: &Key, state: State) -> Result<Value, Error> {
        if self.store.is_local() {
            let weight = size_of::<State>() + key.as_str().len();
            return Ok(Value::Shared(SharedValue::new(Arc::new(state), weight)));
        }
        let payload = Bytes::copy_from_slice(&state.version.as_u128().to_be_bytes());
        let envelope = Envelope::new(EntryKind::Tag, state.since, Windows::FOREVER).with_payload("", payload);
        envelope.encode(key).map(Value::Bytes)
    }

    /// Forgets what is remembered of `scope`, in the store of which something else was done to it.
    pub(crate) fn forget(&self, scope: &Scope) {
        self.memo.forget(scope);
    }
}

fn decode(record: &Record, key: &Key) -> Option<State> {
    match &record.value {
        Value::Shared(shared) => shared.object().downcast_ref().copied(),
        Value::Bytes(bytes) => {
            let envelope = Envelope::decode(bytes, key).ok()?;
            let payload: [u8; 16] = envelope.payload[..].try_into().ok()?;
            (envelope.kind == EntryKind::Tag).then(|| State {
                version: Version::from_u128(u128::from_be_bytes(payload)),
                since: envelope.created,
            })
        }
    }
}
