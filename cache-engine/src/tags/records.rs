//! The records of tags and epochs of one store, and what they make of entries.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    Clock, EntryKind, Envelope, Error, FreshnessWindows, Key, Namespace, Prefix, Record, Scope, SetOptions, SetOutcome,
    SharedValue, Tags, Timestamp, Value, Version,
};

use crate::store::Store;
use crate::tags::cache::{Asked, Last, TagCache};
use crate::tags::lifetime::Prolonged;
use crate::tags::name::{EPOCH, EPOCH_OF_ALL, EPOCHS, TAG};
use crate::tags::version::{TagVersion, decode, hard};

/// What its tags make of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Current,
    /// Softly invalidated, at this time by the clock of whoever did it.
    Stale(Timestamp),
    /// Of no use to anybody.
    Gone,
}

impl Verdict {
    /// The worse of the two.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Gone, _) | (_, Self::Gone) => Self::Gone,
            (Self::Stale(one), Self::Stale(other)) => Self::Stale(one.min(other)),
            (Self::Stale(since), Self::Current) | (Self::Current, Self::Stale(since)) => Self::Stale(since),
            (Self::Current, Self::Current) => Self::Current,
        }
    }
}

/// The records of tags, and of the epochs, of one store.
#[derive(Debug)]
pub(crate) struct TagRecords {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) prefix: Prefix,
    /// Namespaces are cleared by their epochs.
    pub(super) by_epoch: bool,
    pub(super) cache: Arc<TagCache>,
    pub(super) prolonged: Prolonged,
    /// Held while a sequence for late tags is begun.
    pub(super) beginning: tokio::sync::Mutex<()>,
}

/// TagVersions that are known, by the keys of their records; `None` for one that the store does not have.
pub(crate) type TagVersions = HashMap<Key, Option<TagVersion>>;

impl TagRecords {
    /// The records of `store`, remembered in `cache`.
    pub(crate) fn new(
        store: &Arc<Store>,
        clock: &Arc<dyn Clock>,
        prefix: &Prefix,
        by_epoch: bool,
        cache: &Arc<TagCache>,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            prefix: prefix.clone(),
            by_epoch: by_epoch || !store.backend().capabilities().clear,
            cache: Arc::clone(cache),
            prolonged: Prolonged::default(),
            beginning: tokio::sync::Mutex::default(),
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
    pub(super) fn key(&self, name: &str, namespace: &Namespace) -> Key {
        match name {
            "\u{0}namespace" => namespace.reserved(EPOCH).key(""),
            "\u{0}prefix" => self.own(EPOCH_OF_ALL).key(""),
            name => self.own(TAG).key(name),
        }
    }

    pub(super) fn own(&self, kind: &str) -> Namespace {
        self.prefix.namespace("").reserved(kind)
    }

    /// The keys of the epochs of `namespace`, without those that are remembered, which are put into `known`. None if
    /// there are no epochs.
    pub(crate) fn epochs_to_read(&self, namespace: &Namespace, known: &mut TagVersions) -> Vec<Key> {
        if !self.by_epoch {
            return Vec::new();
        }
        let keys = EPOCHS.into_iter().map(|name| self.key(name, namespace));
        keys.filter(|key| self.recall(key, known).is_none()).collect()
    }

    /// What a tag says, if that is known, or remembered and thereby known.
    fn recall(&self, key: &Key, known: &mut TagVersions) -> Option<TagVersion> {
        if let Some(state) = known.get(key) {
            return *state;
        }
        let state = self.cache.recall(key)?;
        known.insert(key.clone(), Some(state));
        Some(state)
    }

    /// Takes note of what the records of `keys`, asked for at `asked`, say.
    pub(crate) fn learn(
        &self,
        keys: Vec<Key>,
        records: impl IntoIterator<Item = Option<Record>>,
        asked: Asked,
        known: &mut TagVersions,
    ) {
        for (key, record) in keys.into_iter().zip(records) {
            let state = record.and_then(|record| decode(&record, &key));
            if let Some(state) = state {
                self.cache.remember(&key, state, asked);
            }
            known.insert(key, state);
        }
    }

    /// What their tags make of entries, with what is known already.
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
            .map(|(namespace, tags)| {
                self.verdict(tags, |name| known.get(&self.key(name, namespace)).copied().flatten())
            })
            .collect())
    }

    /// Finds out about tags that entries carry. What was known before the entries were read may be older than they are:
    /// if it speaks against one, the store is asked again.
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

    /// What its tags make of an entry of `namespace`, with what is known already.
    pub(crate) async fn judge(
        &self,
        namespace: &Namespace,
        tags: &Tags,
        known: &mut TagVersions,
    ) -> Result<Verdict, Error> {
        if !self.concerns(tags) {
            return Ok(Verdict::Current);
        }
        let carried = tags
            .iter()
            .map(|(name, version)| (self.key(name, namespace), version))
            .collect();
        self.learn_of(carried, known).await?;
        Ok(self.verdict(tags, |name| known.get(&self.key(name, namespace)).copied().flatten()))
    }

    /// What its tags make of a copy of an entry of `namespace`, by what is known already. `None` if that does not
    /// suffice. If changes are not `told` of, copies are taken at their word until this process itself knows better.
    pub(crate) fn judge_copy(&self, namespace: &Namespace, tags: &Tags, told: bool) -> Option<Verdict> {
        if !self.concerns(tags) {
            return Some(Verdict::Current);
        }
        let mut unknown = false;
        let verdict = self.verdict(tags, |name| {
            let key = self.key(name, namespace);
            let state = if told {
                self.cache.recall(&key)
            } else {
                match self.cache.recall_last(&key) {
                    Last::Said(state) => Some(state),
                    Last::Changed => None,
                    Last::Unknown => TagVersion::carried(tags, name),
                }
            };
            unknown |= state.is_none();
            state
        });
        (!unknown).then_some(verdict)
    }

    /// To be taken before the store is asked for what [`learn`](Self::learn) is told.
    pub(crate) fn ask(&self) -> Asked {
        self.cache.ask()
    }

    /// As [`judge`](Self::judge), by what the store says now, whatever is remembered.
    pub(crate) async fn judge_now(&self, namespace: &Namespace, tags: &Tags) -> Result<Verdict, Error> {
        if !self.concerns(tags) {
            return Ok(Verdict::Current);
        }
        let mut known = TagVersions::new();
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

    async fn read(&self, keys: Vec<Key>, known: &mut TagVersions) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let asked = self.cache.ask();
        let records = self.store.get_many(&keys).await?;
        self.learn(keys, records, asked, known);
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

    /// The value of a record that says `object`: the object itself, where the store keeps objects.
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

    /// Forgets what is remembered of `scope`, in the store of which something else was done to it.
    pub(crate) fn forget_all(&self, scope: &Scope) {
        self.cache.forget_all(scope);
    }
}
