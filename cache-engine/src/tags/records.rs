//! The records of tags and epochs of one store, and how entries are judged by them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    Clock, EntryKind, Envelope, Error, FreshnessWindows, Key, Namespace, Prefix, Record, Scope, SetOptions, SetOutcome,
    SharedValue, Tags, Timestamp, Value, Version,
};

use crate::store::Store;
use crate::tags::cache::{Last, ReadStart, TagCache};
use crate::tags::known::TagVersions;
use crate::tags::last_seen::LastSeen;
use crate::tags::lifetime::Prolonged;
use crate::tags::name::{EPOCH, EPOCH_OF_ALL, EPOCHS, TAG};
use crate::tags::version::{TagVersion, decode, hard};

/// The state of an entry by its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Current,
    /// Softly invalidated at this time, by the clock of the process that did it.
    Stale(Timestamp),
    /// Unusable.
    Gone,
}

impl Verdict {
    /// Returns the worse of the two verdicts.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Gone, _) | (_, Self::Gone) => Self::Gone,
            (Self::Stale(one), Self::Stale(other)) => Self::Stale(one.min(other)),
            (Self::Stale(since), Self::Current) | (Self::Current, Self::Stale(since)) => Self::Stale(since),
            (Self::Current, Self::Current) => Self::Current,
        }
    }
}

/// Returns the worse of two verdicts, where there are any.
pub(crate) fn worse(one: Option<Verdict>, other: Option<Verdict>) -> Option<Verdict> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.or(other)),
        (one, other) => one.or(other),
    }
}

/// The records of tags, and of the epochs, of one store.
#[derive(Debug)]
pub(crate) struct TagRecords {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) prefix: Prefix,
    /// The key of the epoch of everything below the prefix.
    epoch_of_all: Key,
    /// Whether namespaces are cleared by their epochs.
    pub(super) by_epoch: bool,
    pub(super) cache: Arc<TagCache>,
    pub(super) prolonged: Prolonged,
    /// After which time at most a load that is still running prolongs the records that it has read.
    pub(super) renewal: Duration,
    pub(super) seen: LastSeen,
    /// Held while a sequence for late tags is begun.
    pub(super) beginning: tokio::sync::Mutex<()>,
}

impl TagRecords {
    /// Creates the tag records of `store`, remembered in `cache`.
    pub(crate) fn new(
        store: &Arc<Store>,
        clock: &Arc<dyn Clock>,
        prefix: &Prefix,
        by_epoch: bool,
        cache: &Arc<TagCache>,
        renewal: Duration,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            prefix: prefix.clone(),
            epoch_of_all: own(prefix, EPOCH_OF_ALL).key(""),
            by_epoch: by_epoch || !store.backend().capabilities().clear,
            cache: Arc::clone(cache),
            prolonged: Prolonged::default(),
            renewal,
            seen: LastSeen::default(),
            beginning: tokio::sync::Mutex::default(),
        }
    }

    /// Returns whether namespaces are cleared by their epochs.
    pub(crate) fn clears_by_epoch(&self) -> bool {
        self.by_epoch
    }

    /// Returns whether `other` are the same records.
    pub(super) fn are(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || self.prefix == other.prefix && Arc::ptr_eq(self.store.backend(), other.store.backend())
    }

    /// Returns whether an entry with `tags` has to be judged at all.
    #[inline]
    pub(crate) fn concerns(&self, tags: &Tags) -> bool {
        self.by_epoch || !tags.is_empty()
    }

    /// Returns the key of the record of a tag that an entry of `namespace` carries as `name`.
    pub(super) fn key(&self, name: &str, namespace: &Namespace) -> Key {
        match name {
            "\u{0}namespace" => namespace.reserved(EPOCH).key(""),
            "\u{0}prefix" => self.epoch_of_all.clone(),
            name => self.own(TAG).key(name),
        }
    }

    pub(super) fn own(&self, kind: &str) -> Namespace {
        own(&self.prefix, kind)
    }

    /// Adds to `keys` those of the epochs of the namespace of `key`, except those that are there and those that are
    /// remembered, which are added to `known`. Adds no keys if there are no epochs.
    pub(crate) fn add_epochs_to_read(&self, key: &Key, keys: &mut Vec<Key>, known: &mut TagVersions) {
        if !self.by_epoch {
            return;
        }
        for epoch in [key.reserved_of_namespace(EPOCH), self.epoch_of_all.clone()] {
            if self.recall(&epoch, known).is_none() && !keys.contains(&epoch) {
                keys.push(epoch);
            }
        }
    }

    /// Returns the version of a tag from `known`, or from the tag cache, and then adds it to `known`.
    fn recall(&self, key: &Key, known: &mut TagVersions) -> Option<TagVersion> {
        if let Some(state) = known.get(key) {
            return state;
        }
        let state = self.cache.recall(key)?;
        known.insert(key.clone(), Some(state));
        Some(state)
    }

    /// Adds the versions in the records of `keys`, which were read at `started`.
    pub(crate) fn learn(
        &self,
        keys: impl IntoIterator<Item = Key>,
        records: impl IntoIterator<Item = Option<Record>>,
        started: ReadStart,
        known: &mut TagVersions,
    ) {
        for (key, record) in keys.into_iter().zip(records) {
            let state = record.and_then(|record| self.decode(&record, &key));
            if let Some(state) = state {
                self.cache.remember(&key, state, started);
            }
            known.insert(key, state);
        }
    }

    /// Judges entries by their tags, given what is known already.
    pub(crate) async fn judge_many<'a>(
        &self,
        entries: impl Iterator<Item = (&'a Namespace, &'a Tags)> + Clone + Send,
        known: &mut TagVersions,
    ) -> Result<Vec<Verdict>, Error> {
        let carried = entries
            .clone()
            .flat_map(|(namespace, tags)| tags.iter().map(|(name, version)| (self.key(name, namespace), version)))
            .collect();
        self.learn_of(carried, known).await?;
        Ok(entries
            .map(|(namespace, tags)| self.verdict(tags, |name| known.current(&self.key(name, namespace))))
            .collect())
    }

    /// Reads the tags that entries carry, where needed. What was known before the entries were read may be older than
    /// they are: if it speaks against an entry, the store is read again.
    async fn learn_of(&self, carried: Vec<(Key, Version)>, known: &mut TagVersions) -> Result<(), Error> {
        let mut ask = Vec::new();
        for (key, version) in carried {
            let known = self.recall(&key, known);
            if known.is_none_or(|state| state.version != version) && !ask.contains(&key) {
                ask.push(key);
            }
        }
        self.read(ask, known).await
    }

    /// Judges the entry of `key` by its tags, given what is known already.
    pub(crate) async fn judge(&self, key: &Key, tags: &Tags, known: &mut TagVersions) -> Result<Verdict, Error> {
        if !self.concerns(tags) {
            return Ok(Verdict::Current);
        }
        let namespace = &key.namespace();
        let carried = tags
            .iter()
            .map(|(name, version)| (self.key(name, namespace), version))
            .collect();
        self.learn_of(carried, known).await?;
        Ok(self.verdict(tags, |name| known.current(&self.key(name, namespace))))
    }

    /// Judges a copy of an entry of `namespace` by its tags, from what is known already. Returns `None` if that does
    /// not suffice. If changes are not reported (`is_reported` is `false`), copies are trusted until this process itself knows
    /// better.
    pub(crate) fn judge_copy(&self, namespace: &Namespace, tags: &Tags, is_reported: bool) -> Option<Verdict> {
        if !self.concerns(tags) {
            return Some(Verdict::Current);
        }
        let mut unknown = false;
        let verdict = self.verdict(tags, |name| {
            let key = self.key(name, namespace);
            let state = if is_reported {
                self.cache.recall(&key)
            } else {
                match self.cache.recall_last(&key) {
                    Last::Version(state) => Some(state),
                    Last::Changed => None,
                    Last::Unknown => TagVersion::carried(tags, name),
                }
            };
            unknown |= state.is_none();
            state
        });
        (!unknown).then_some(verdict)
    }

    /// Returns the current moment. Call this before the store is read for [`learn`](Self::learn).
    pub(crate) fn begin_read(&self) -> ReadStart {
        self.cache.begin_read()
    }

    /// Like [`judge`](Self::judge), by what the store says now, regardless of what is remembered.
    pub(crate) async fn judge_now(&self, namespace: &Namespace, tags: &Tags) -> Result<Verdict, Error> {
        if !self.concerns(tags) {
            return Ok(Verdict::Current);
        }
        let mut known = TagVersions::new();
        let keys = tags.iter().map(|(name, _)| self.key(name, namespace)).collect();
        self.read(keys, &mut known).await?;
        Ok(self.verdict(tags, |name| known.current(&self.key(name, namespace))))
    }

    /// Returns whether nothing that an entry of `namespace` depends on has changed. If that cannot be determined, it
    /// counts as changed.
    pub(crate) async fn still_current(&self, namespace: &Namespace, tags: &Tags) -> bool {
        matches!(self.judge_now(namespace, tags).await, Ok(Verdict::Current))
    }

    /// Returns whether a stale copy with `tags` may still be used. If that cannot be determined, it may not.
    pub(crate) async fn still_usable(&self, namespace: &Namespace, tags: &Tags) -> bool {
        matches!(
            self.judge_now(namespace, tags).await,
            Ok(Verdict::Current | Verdict::Stale(_))
        )
    }

    pub(super) fn verdict(&self, tags: &Tags, mut state_of: impl FnMut(&str) -> Option<TagVersion>) -> Verdict {
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

    /// Decodes the record of a tag. One that cannot be read counts as changed, and emits an event.
    pub(super) fn decode(&self, record: &Record, key: &Key) -> Option<TagVersion> {
        let decoded = decode(record, key);
        decoded
            .inspect_err(|error| self.store.report_unreadable(key, error))
            .ok()
    }

    async fn read(&self, keys: Vec<Key>, known: &mut TagVersions) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let started = self.cache.begin_read();
        let records = self.store.get_many(&keys).await?;
        self.learn(keys, records, started, known);
        Ok(())
    }

    pub(super) async fn write(&self, key: &Key, state: TagVersion, options: SetOptions) -> Result<SetOutcome, Error> {
        self.store.set(key, self.encode(key, state)?, options).await
    }

    pub(super) fn encode(&self, key: &Key, state: TagVersion) -> Result<Value, Error> {
        self.encode_as(key, state, state.since, |state| {
            state.version.as_u128().to_be_bytes().to_vec()
        })
    }

    /// Returns the value of a record with the content `object`: the object itself, where the store holds objects.
    pub(super) fn encode_as<T: Send + Sync + 'static>(
        &self,
        key: &Key,
        object: T,
        since: Timestamp,
        to_bytes: impl FnOnce(&T) -> Vec<u8>,
    ) -> Result<Value, Error> {
        if self.store.is_local() {
            let weight = size_of::<T>() + key.as_str().len();
            return Ok(Value::Shared(SharedValue::new(Arc::new(object), weight)));
        }
        let payload = Bytes::from(to_bytes(&object));
        let envelope = Envelope::new(EntryKind::Tag, since, FreshnessWindows::FOREVER).with_payload("", payload);
        envelope.encode(key).map(Value::Bytes)
    }

    /// Forgets what is remembered of `scope`, after the store changed it by another operation.
    pub(crate) fn forget_all(&self, scope: &Scope) {
        self.cache.forget_all(scope);
    }
}

/// Returns the namespace of the records of this kind that are not about one namespace.
fn own(prefix: &Prefix, kind: &str) -> Namespace {
    prefix.namespace("").reserved(kind)
}
