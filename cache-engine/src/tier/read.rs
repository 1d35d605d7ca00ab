//! Reads a near copy or the store, together with the tags.

use std::any::Any;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Error, Key, Namespace, Record, Tags, Version};

use crate::stats::snapshot::CacheTier;
use crate::store::changes::ChangeStamp;
use crate::store::record::{self, Content, Entry, Found, Freshness, Terms};
use crate::tags::known::TagVersions;
use crate::tags::name::EPOCHS;
use crate::tags::records::{Verdict, worse};
use crate::tier::precondition::{Lease, Precondition};
use crate::tier::storage::Tier;

/// The result of reading a key from the storage tier.
#[derive(Debug)]
pub(crate) enum Read<T> {
    /// A fresh value.
    Fresh(Found<T>, Version),
    /// A stale value to return at once, while one load brings a new one.
    Stale(Found<T>, Version),
    /// A stored result which says that there is no value.
    NegativeHit(Version, Box<Terms>),
    /// A stored failure of a load: its error, if it occurred in this process, and its message.
    FailedLoad(Option<Arc<dyn Any + Send + Sync>>, Arc<str>, Version, Box<Terms>),
    /// Nothing to return. The stale value may still be of use to the load, or be returned if the load fails.
    Miss(Precondition, Option<Found<T>>),
    /// The lease of a load, and its remaining time.
    Leased(Option<Duration>, Lease),
    /// The store did not answer.
    Unavailable(Error),
}

impl<T> Read<T> {
    /// Returns the version of the record that a load replaces which accepts nothing that is stored.
    pub(crate) fn version(&self) -> Option<Version> {
        match self {
            Self::Fresh(_, version)
            | Self::Stale(_, version)
            | Self::NegativeHit(version, _)
            | Self::FailedLoad(_, _, version, _) => Some(*version),
            Self::Miss(..) | Self::Leased(..) | Self::Unavailable(_) => None,
        }
    }

    /// Breaks with the value of a fresh entry. Continues with anything else.
    pub(crate) fn into_fresh(self) -> ControlFlow<Fresh<T>, Self> {
        match self {
            Self::Fresh(found, _) => ControlFlow::Break((found.value, found.tier)),
            other => ControlFlow::Continue(other),
        }
    }
}

/// A fresh value, and where it was found.
pub(crate) type Fresh<T> = (Arc<T>, CacheTier);

/// The result of a read that does not wait and found no fresh value.
pub(crate) enum ReadNow {
    /// The record in the store, which is not immediately recognizable as a fresh value.
    Record(Option<Record>),
    /// The store did not answer.
    Unavailable(Error),
    /// Nothing was read.
    Nothing,
}

/// A boxed future.
pub(crate) type Boxed<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

impl Tier {
    /// Reads a fresh value by the shortest path, and breaks with it. Continues with anything else that was read.
    #[inline]
    pub(crate) async fn read_fresh<T, C>(&self, key: &Key, coder: &C) -> ControlFlow<Fresh<T>, Read<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        // The future has no room for the first result, because every cached function holds one of these futures.
        let reading = match self.read_now(key, coder.type_version()) {
            ControlFlow::Break(value) => return ControlFlow::Break(value),
            ControlFlow::Continue(read) => self.read_further(read, key, coder),
        };
        reading.await.into_fresh()
    }

    /// Reads what can be read without waiting: a near copy, or a record of a store in this process. Reads no tags.
    /// `type_version` is that of the coder.
    #[inline]
    pub(crate) fn read_now<T>(&self, key: &Key, type_version: u32) -> ControlFlow<Fresh<T>, ReadNow>
    where
        T: Send + Sync + 'static,
    {
        if let Some((found, _)) = self.read_near(key, type_version) {
            return ControlFlow::Break((found.value, CacheTier::Near));
        }
        if self.tags.clears_by_epoch() {
            return ControlFlow::Continue(ReadNow::Nothing);
        }
        let now = (!self.same_clock).then(|| self.now());
        let mut fresh = None;
        self.store.view(key, &mut |view| {
            fresh = record::fresh_object(view.object(), |time| view.outlives(time), key, type_version, now);
            fresh.is_some()
        });
        if let Some(value) = fresh {
            return ControlFlow::Break((value, CacheTier::Store));
        }
        ControlFlow::Continue(match self.store.get_now(key) {
            Some(Ok(record)) => ReadNow::Record(record),
            Some(Err(error)) => ReadNow::Unavailable(error),
            None => ReadNow::Nothing,
        })
    }

    /// Continues from what [`read_now`](Self::read_now) has read. Boxed, to keep the future of a hit in memory small.
    #[inline(never)]
    pub(crate) fn read_further<'a, T, C>(&'a self, read: ReadNow, key: &'a Key, coder: &'a C) -> Boxed<'a, Read<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        Box::pin(self.read_on(read, key, coder))
    }

    /// Continues from what [`read_now`](Self::read_now) has read.
    #[inline]
    pub(crate) async fn read_on<T, C>(&self, read: ReadNow, key: &Key, coder: &C) -> Read<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        match read {
            // Nothing is ever pending for a store in this process.
            ReadNow::Record(record) => self.judged(record, None, TagVersions::new(), key, coder).await.0,
            ReadNow::Unavailable(error) => Read::Unavailable(error),
            ReadNow::Nothing => self.read_store(key, coder).await,
        }
    }

    /// Reads the store, and stores a near copy of a fresh value.
    #[inline]
    pub(crate) async fn read_store<T, C>(&self, key: &Key, coder: &C) -> Read<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Some(stamp) = self.stamp(key) else {
            return self.read_remote(key, coder).await.0;
        };
        let (read, weight) = self.read_remote(key, coder).await;
        if let Read::Fresh(found, version) = &read {
            self.keep_near(key, found, *version, weight, stamp);
        }
        read
    }

    /// Carries out some of the invalidations that are pending, before the store is read and trusted. Returns what the
    /// others mean for `key`. That is found before the record is read, so that the read notices what is carried out
    /// between the two.
    pub(crate) async fn before_read(&self, key: &Key) -> Option<Verdict> {
        if self.pending.is_empty() {
            return None;
        }
        // Boxed, like everything that most reads do not need, since a read moves its whole future.
        Box::pin(self.carry_out_some_pending()).await;
        self.pending.verdict_of_key(key)
    }

    /// Returns what the `record` means that the store has returned for `key`, as [`read_store`](Self::read_store) does.
    /// `pending` and `stamp` were taken before, and `known` are the tags that were read with it.
    pub(crate) async fn read_record<T, C>(
        &self,
        record: Record,
        pending: Option<Verdict>,
        stamp: Option<ChangeStamp>,
        known: TagVersions,
        key: &Key,
        coder: &C,
    ) -> Read<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let (read, weight) = self.judged(Some(record), pending, known, key, coder).await;
        if let (Read::Fresh(found, version), Some(stamp)) = (&read, stamp) {
            self.keep_near(key, found, *version, weight, stamp);
        }
        read
    }

    /// Reads the store. Also returns the size of the record in bytes.
    #[inline]
    async fn read_remote<T, C>(&self, key: &Key, coder: &C) -> (Read<T>, usize)
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let pending = self.before_read(key).await;
        let mut known = TagVersions::new();
        if self.tags.clears_by_epoch() {
            let mut keys = Vec::with_capacity(1 + EPOCHS.len());
            // First, so that a record that is written meanwhile is not newer than its epochs.
            keys.push(key.clone());
            self.tags.add_epochs_to_read(key, &mut keys, &mut known);
            if keys.len() > 1 {
                return Box::pin(self.read_with_epochs(key, keys, pending, known, coder)).await;
            }
        }
        match self.store.get(key).await {
            Ok(record) => self.judged(record, pending, known, key, coder).await,
            Err(error) => (Read::Unavailable(error), 0),
        }
    }

    /// Reads the store, with the records of its epochs in the same batch. `keys` are `key` and those of the epochs.
    async fn read_with_epochs<T, C>(
        &self,
        key: &Key,
        keys: Vec<Key>,
        pending: Option<Verdict>,
        mut known: TagVersions,
        coder: &C,
    ) -> (Read<T>, usize)
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let started = self.tags.begin_read();
        let are_all = known.is_empty();
        match self.store.get_many(&keys).await {
            Ok(records) => {
                let mut records = records.into_iter();
                let record = records.next().flatten();
                self.tags.learn(keys.into_iter().skip(1), records, started, &mut known);
                if are_all {
                    known.start_with_epochs();
                }
                self.judged(record, pending, known, key, coder).await
            }
            Err(error) => (Read::Unavailable(error), 0),
        }
    }

    /// Reads several keys. Reads their near copies first, the others from the store in one batch, and their tags in
    /// another one. Returns the results in the order of the keys.
    pub(crate) async fn read_many<T, C>(&self, keys: &[Key], coder: &C) -> Vec<Read<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let mut reads: Vec<Option<Read<T>>> = Vec::with_capacity(keys.len());
        let mut remote = Vec::new();
        let mut stamps = Vec::new();
        for key in keys {
            let near = self
                .read_near(key, coder.type_version())
                .map(|(found, version)| Read::Fresh(found, version));
            if near.is_none() {
                remote.push(key.clone());
                stamps.push(self.stamp(key));
            }
            reads.push(near);
        }
        if remote.is_empty() {
            return reads.into_iter().flatten().collect();
        }
        let read = match self.read_remote_many(&remote, coder).await {
            Ok(read) => read,
            Err(error) => remote.iter().map(|_| (Read::Unavailable(error.clone()), 0)).collect(),
        };
        let mut read = remote
            .iter()
            .zip(stamps)
            .zip(read)
            .map(|((key, stamp), (read, weight))| {
                if let (Read::Fresh(found, version), Some(stamp)) = (&read, stamp) {
                    self.keep_near(key, found, *version, weight, stamp);
                }
                read
            });
        reads
            .into_iter()
            .filter_map(|near| near.or_else(|| read.next()))
            .collect()
    }

    async fn read_remote_many<T, C>(&self, keys: &[Key], coder: &C) -> Result<Vec<(Read<T>, usize)>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.carry_out_some_pending().await;
        let mut pending: Vec<Option<Verdict>> = keys.iter().map(|key| self.pending.verdict_of_key(key)).collect();
        let tagging = &self.tags;
        let mut known = TagVersions::new();
        let mut epochs = Vec::new();
        let namespaces: Vec<Namespace> = keys.iter().map(Key::namespace).collect();
        if tagging.clears_by_epoch() {
            let mut one_of_each: Vec<(&Namespace, &Key)> = namespaces.iter().zip(keys).collect();
            one_of_each.sort_unstable_by_key(|(namespace, _)| *namespace);
            one_of_each.dedup_by_key(|(namespace, _)| *namespace);
            for (_, key) in one_of_each {
                tagging.add_epochs_to_read(key, &mut epochs, &mut known);
            }
        }
        let started = self.tags.begin_read();
        let all: Vec<Key> = keys.iter().chain(&epochs).cloned().collect();
        let mut records = self.store.get_many(&all).await?.into_iter();
        let found: Vec<_> = keys
            .iter()
            .zip(records.by_ref())
            .map(|(key, record)| {
                record.map(|record| (Written::of(&record), record.value.weight(), record::open(record, key)))
            })
            .collect();
        tagging.learn(epochs, records, started, &mut known);
        for (pending, found) in pending.iter_mut().zip(&found) {
            if let Some((_, _, Ok(opened))) = found {
                *pending = worse(*pending, self.pending.verdict_of_tags(opened.tags()));
            }
        }
        let none = Tags::default();
        let tags = found.iter().map(|found| match found {
            Some((_, _, Ok(opened))) => opened.tags(),
            _ => &none,
        });
        let verdicts = tagging.judge_many(namespaces.iter().zip(tags), &mut known).await?;
        let reads =
            keys.iter()
                .zip(found)
                .zip(verdicts.into_iter().zip(pending))
                .map(|((key, found), (verdict, pending))| match found {
                    None => (Read::Miss(Precondition::Nothing, None), 0),
                    Some((written, weight, Ok(opened))) => {
                        let verdict = pending.map_or(verdict, |pending| verdict.or(pending));
                        (self.classify(opened, written, verdict, key, coder), weight)
                    }
                    Some((written, weight, Err(error))) => (self.unreadable(&error, written, key), weight),
                });
        Ok(reads.collect())
    }

    /// Judges a record by its tags, and by what was `pending` for its key before it was read. Returns the result, and
    /// the size of the record in bytes.
    #[inline]
    async fn judged<T, C>(
        &self,
        record: Option<Record>,
        pending: Option<Verdict>,
        mut known: TagVersions,
        key: &Key,
        coder: &C,
    ) -> (Read<T>, usize)
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Some(record) = record else {
            return (Read::Miss(Precondition::Nothing, None), 0);
        };
        let weight = record.value.weight();
        let written = Written::of(&record);
        let read = match record::open(record, key) {
            Ok(opened) => {
                let pending = worse(pending, self.pending.verdict_of_tags(opened.tags()));
                let is_settled = !self.tags.concerns(opened.tags()) || known.are_current_epochs(opened.tags());
                let verdict = if is_settled {
                    Ok(Verdict::Current)
                } else {
                    Box::pin(self.tags.judge(key, opened.tags(), &mut known)).await
                };
                match verdict {
                    Ok(verdict) => {
                        let verdict = pending.map_or(verdict, |pending| verdict.or(pending));
                        self.classify(opened, written, verdict, key, coder)
                    }
                    Err(error) => Read::Unavailable(error),
                }
            }
            Err(error) => self.unreadable(&error, written, key),
        };
        (read, weight)
    }

    /// Emits an event for a record that cannot be read, and returns a miss.
    #[cold]
    fn unreadable<T>(&self, error: &Error, written: Written, key: &Key) -> Read<T> {
        self.store.report_unreadable(key, error);
        Read::Miss(Precondition::Record(written.version), None)
    }

    /// Classifies an entry by the verdict on its tags and by its age. Decodes the value only if it may be used.
    #[inline]
    fn classify<T, C>(
        &self,
        opened: record::Opened,
        written: Written,
        verdict: Verdict,
        key: &Key,
        coder: &C,
    ) -> Read<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Written { version, remaining } = written;
        if verdict == Verdict::Gone {
            let precondition = if opened.is_lease() {
                Precondition::Lease(version)
            } else {
                Precondition::Record(version)
            };
            return Read::Miss(precondition, None);
        }
        let entry: Entry<T> = match opened.read(coder) {
            Ok(entry) => entry,
            Err(error) => return self.unreadable(&error, written, key),
        };
        let now = self.now();
        let created = record::created_at(entry.created, entry.lifetime, remaining, now);
        let windows = entry.windows;
        let value = match entry.content {
            Content::Value(value) => value,
            // A stale entry without a value is unusable.
            Content::Lease(_) if verdict != Verdict::Current => {
                return Read::Miss(Precondition::Lease(version), None);
            }
            // The store retains a lease for its lifetime, by the store's own clock.
            Content::Lease(renews) => {
                let first = renews.unwrap_or(version);
                return Read::Leased(remaining, Lease { version, first });
            }
            content => {
                let fresh = verdict == Verdict::Current && Freshness::of(created, &windows, now) == Freshness::Fresh;
                let terms = || {
                    Box::new(Terms {
                        created,
                        windows,
                        tags: entry.tags,
                    })
                };
                return match content {
                    Content::Absent if fresh => Read::NegativeHit(version, terms()),
                    Content::Failure(error, message) if fresh => Read::FailedLoad(error, message, version, terms()),
                    _ => Read::Miss(Precondition::Record(version), None),
                };
            }
        };
        let mut found = Found {
            value,
            created,
            windows,
            tags: entry.tags,
            version: Some(version),
            tier: CacheTier::Store,
            load_time: entry.load_time,
            type_version: coder.type_version(),
        };
        if let Verdict::Stale(since) = verdict {
            found = found.softened(since, now);
        }
        match found.freshness(now) {
            Freshness::Fresh => Read::Fresh(found, version),
            Freshness::StaleWhileRevalidate => Read::Stale(found, version),
            _ => Read::Miss(Precondition::Record(version), Some(found)),
        }
    }
}

/// What the store reports about a record.
#[derive(Debug, Clone, Copy)]
struct Written {
    version: Version,
    remaining: Option<Duration>,
}

impl Written {
    fn of(record: &Record) -> Self {
        Self {
            version: record.version,
            remaining: record.remaining,
        }
    }
}
