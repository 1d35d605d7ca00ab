//! What a look into the store shows.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Error, Key, Namespace, Record, Tags, Version};

use crate::event::Event;
use crate::store::record::{self, Content, Entry, Found, Freshness};
use crate::tags::records::{TagVersions, Verdict};
use crate::tier::precondition::{Lease, Precondition};
use crate::tier::storage::Tier;

/// What a look into the store shows.
#[derive(Debug)]
pub(crate) enum Read<T> {
    /// A fresh value.
    Fresh(Found<T>, Version),
    /// A stale value to answer at once, while one load brings a new one.
    Usable(Found<T>, Version),
    /// It is remembered that there is no value.
    Absent(Version),
    /// It is remembered that the load failed.
    Failed(Option<Arc<dyn Any + Send + Sync>>, Arc<str>, Version),
    /// Nothing to answer with. The stale value may still be of use to the load, or if it fails.
    Missing(Precondition, Option<Found<T>>),
    /// Somebody is loading, and is given up after this time at the latest.
    Leased(Option<Duration>, Lease),
    /// The store is out of reach.
    Outage,
}

/// What a first look shows: as little as it takes to answer a hit.
#[derive(Debug)]
pub(crate) enum Glimpse<T> {
    Fresh(Arc<T>),
    Other(Read<T>),
}

impl<T> Glimpse<T> {
    fn of(seen: Read<T>) -> Self {
        match seen {
            Read::Fresh(found, _) => Self::Fresh(found.value),
            seen => Self::Other(seen),
        }
    }
}

type Boxed<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

impl Tier {
    /// As [`look`](Self::look), by the shortest way to a fresh object.
    #[inline]
    pub(crate) async fn glimpse<T, C>(&self, key: &Key, coder: &C) -> Result<Glimpse<T>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if let Some((found, _)) = self.find_near(key) {
            return Ok(Glimpse::Fresh(found.value));
        }
        if self.store.is_local() && !self.tags.clears_by_epoch() {
            let record = self.store.get_local(key).await?;
            let now = (!self.same_clock).then_some(|| self.now());
            let fresh = record
                .as_ref()
                .and_then(|record| record::fresh_object(record, key, now));
            return match fresh {
                Some(value) => Ok(Glimpse::Fresh(value)),
                None => self.glimpse_into(record, key, coder).await,
            };
        }
        self.glimpse_far(key, coder).await
    }

    /// As [`glimpse`](Self::glimpse), of a record that is not a fresh object without tags.
    ///
    /// Boxed, like [`glimpse_far`](Self::glimpse_far), so that a hit in memory does not carry its weight.
    #[inline(never)]
    fn glimpse_into<'a, T, C>(
        &'a self,
        record: Option<Record>,
        key: &'a Key,
        coder: &'a C,
    ) -> Boxed<'a, Result<Glimpse<T>, Error>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        Box::pin(async move {
            let (seen, _) = self.judge(record, TagVersions::new(), key, coder).await?;
            Ok(Glimpse::of(seen))
        })
    }

    #[inline(never)]
    fn glimpse_far<'a, T, C>(&'a self, key: &'a Key, coder: &'a C) -> Boxed<'a, Result<Glimpse<T>, Error>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        Box::pin(async move { self.look(key, coder).await.map(Glimpse::of) })
    }

    #[inline]
    pub(crate) async fn see<T, C>(&self, key: &Key, coder: &C) -> Read<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.look(key, coder).await.unwrap_or(Read::Outage)
    }

    /// As [`see`](Self::see), with a near copy as good as what is in the store.
    #[inline]
    pub(crate) async fn see_near<T, C>(&self, key: &Key, coder: &C) -> Read<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        match self.find_near(key) {
            Some((found, version)) => Read::Fresh(found, version),
            None => self.see(key, coder).await,
        }
    }

    /// As [`see`](Self::see), with the store's error in the place of an outage.
    #[inline]
    pub(crate) async fn look<T, C>(&self, key: &Key, coder: &C) -> Result<Read<T>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Some(stamp) = self.stamp(key) else {
            return self.look_far(key, coder).await.map(|(seen, _)| seen);
        };
        let (seen, weight) = self.look_far(key, coder).await?;
        if let Read::Fresh(found, version) = &seen {
            self.keep_near(key, found, *version, weight, stamp);
        }
        Ok(seen)
    }

    /// What the store shows, and how many bytes the record has.
    #[inline]
    async fn look_far<T, C>(&self, key: &Key, coder: &C) -> Result<(Read<T>, usize), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let store = &self.store;
        if !self.tags.clears_by_epoch() {
            let record = store.get(key).await?;
            return self.judge(record, TagVersions::new(), key, coder).await;
        }
        let mut known = TagVersions::new();
        let epochs = self.tags.epochs_to_read(&key.namespace(), &mut known);
        if epochs.is_empty() {
            let record = store.get(key).await?;
            return self.judge(record, known, key, coder).await;
        }
        let asked = self.tags.ask();
        let keys: Vec<Key> = std::iter::once(key).chain(&epochs).cloned().collect();
        let mut records = store.get_many(&keys).await?.into_iter();
        let record = records.next().flatten();
        self.tags.learn(epochs, records, asked, &mut known);
        self.judge(record, known, key, coder).await
    }

    /// As [`look`](Self::look), for several keys in one batch, and another one for their tags. Near copies are as good
    /// as what is in the store.
    pub(crate) async fn look_many<T, C>(&self, keys: &[Key], coder: &C) -> Result<Vec<Read<T>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if self.near.is_none() {
            return Ok(self
                .look_far_many(keys, coder)
                .await?
                .into_iter()
                .map(|(seen, _)| seen)
                .collect());
        }
        let mut seen: Vec<Option<Read<T>>> = Vec::with_capacity(keys.len());
        let mut far = Vec::new();
        let mut stamps = Vec::new();
        for key in keys {
            let near = self.find_near(key).map(|(found, version)| Read::Fresh(found, version));
            if near.is_none() {
                far.push(key.clone());
                stamps.push(self.stamp(key));
            }
            seen.push(near);
        }
        if far.is_empty() {
            return Ok(seen.into_iter().flatten().collect());
        }
        let looked = self.look_far_many(&far, coder).await?;
        let mut looked = far
            .iter()
            .zip(stamps)
            .zip(looked)
            .map(|((key, stamp), (seen, weight))| {
                if let (Read::Fresh(found, version), Some(stamp)) = (&seen, stamp) {
                    self.keep_near(key, found, *version, weight, stamp);
                }
                seen
            });
        Ok(seen
            .into_iter()
            .filter_map(|near| near.or_else(|| looked.next()))
            .collect())
    }

    async fn look_far_many<T, C>(&self, keys: &[Key], coder: &C) -> Result<Vec<(Read<T>, usize)>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let tagging = &self.tags;
        let mut known = TagVersions::new();
        let mut epochs = Vec::new();
        let namespaces: Vec<Namespace> = keys.iter().map(Key::namespace).collect();
        if tagging.clears_by_epoch() {
            let mut distinct: Vec<&Namespace> = namespaces.iter().collect();
            distinct.sort_unstable();
            distinct.dedup();
            for namespace in distinct {
                for epoch in tagging.epochs_to_read(namespace, &mut known) {
                    if !epochs.contains(&epoch) {
                        epochs.push(epoch);
                    }
                }
            }
        }
        let asked = self.tags.ask();
        let all: Vec<Key> = keys.iter().chain(&epochs).cloned().collect();
        let mut records = self.store.get_many(&all).await?.into_iter();
        let (found, weights): (Vec<Opened<T>>, Vec<usize>) = keys
            .iter()
            .zip(records.by_ref())
            .map(|(key, record)| {
                let weight = record.as_ref().map_or(0, |record| record.value.weight());
                (self.open(record, key, coder), weight)
            })
            .unzip();
        tagging.learn(epochs, records, asked, &mut known);
        let none = Tags::default();
        let tags = found.iter().map(|opened| match opened {
            Opened::Entry(entry, _) => &entry.tags,
            Opened::Nothing(_) => &none,
        });
        let verdicts = tagging.judge_many(namespaces.iter().zip(tags), &mut known).await?;
        let seen = found.into_iter().zip(verdicts).map(|(opened, verdict)| match opened {
            Opened::Nothing(basis) => Read::Missing(basis, None),
            Opened::Entry(entry, record) => self.classify(entry, record, verdict),
        });
        Ok(seen.zip(weights).collect())
    }

    /// What a record shows, once it is known what its tags make of it.
    #[inline]
    async fn judge<T, C>(
        &self,
        record: Option<Record>,
        mut known: TagVersions,
        key: &Key,
        coder: &C,
    ) -> Result<(Read<T>, usize), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let weight = record.as_ref().map_or(0, |record| record.value.weight());
        let seen = match self.open(record, key, coder) {
            Opened::Nothing(basis) => Read::Missing(basis, None),
            Opened::Entry(entry, written) => {
                let verdict = if self.tags.concerns(&entry.tags) {
                    let namespace = key.namespace();
                    self.tags.judge(&namespace, &entry.tags, &mut known).await?
                } else {
                    Verdict::Current
                };
                self.classify(entry, written, verdict)
            }
        };
        Ok((seen, weight))
    }

    #[inline]
    fn open<T, C>(&self, record: Option<Record>, key: &Key, coder: &C) -> Opened<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Some(record) = record else {
            return Opened::Nothing(Precondition::Nothing);
        };
        let written = Written {
            version: record.version,
            remaining: record.remaining,
        };
        match record::read(&record, key, coder) {
            Ok(entry) => Opened::Entry(entry, written),
            Err(error) => {
                self.events.emit(&Event::DecodeFailed { key, error: &error });
                Opened::Nothing(Precondition::Record(written.version))
            }
        }
    }

    #[inline]
    fn classify<T>(&self, entry: Entry<T>, written: Written, verdict: Verdict) -> Read<T> {
        let Written { version, remaining } = written;
        if verdict == Verdict::Gone {
            let basis = match entry.content {
                Content::Lease(_) => Precondition::Lease(version),
                _ => Precondition::Record(version),
            };
            return Read::Missing(basis, None);
        }
        let now = self.now();
        let (created, windows) = (entry.created, entry.windows);
        let value = match entry.content {
            Content::Value(value) => value,
            // What is not a value has no use when it is stale.
            Content::Lease(_) if verdict != Verdict::Current => {
                return Read::Missing(Precondition::Lease(version), None);
            }
            // The store keeps a lease for its time, and by its own clock.
            Content::Lease(renews) => {
                let first = renews.unwrap_or(version);
                return Read::Leased(remaining, Lease { version, first });
            }
            content => {
                let fresh = verdict == Verdict::Current && Freshness::of(created, &windows, now) == Freshness::Fresh;
                return match content {
                    Content::Absent if fresh => Read::Absent(version),
                    Content::Failure(error, message) if fresh => Read::Failed(error, message, version),
                    _ => Read::Missing(Precondition::Record(version), None),
                };
            }
        };
        let mut found = Found {
            value,
            created,
            windows,
            tags: entry.tags,
            version: Some(version),
        };
        if let Verdict::Stale(since) = verdict {
            found = found.softened(since, now);
        }
        match found.freshness(now) {
            Freshness::Fresh => Read::Fresh(found, version),
            Freshness::StaleWhileRevalidate => Read::Usable(found, version),
            _ => Read::Missing(Precondition::Record(version), Some(found)),
        }
    }
}

/// A record that was opened.
enum Opened<T> {
    /// None, or of no use.
    Nothing(Precondition),
    Entry(Entry<T>, Written),
}

/// What the store says of a record.
#[derive(Debug, Clone, Copy)]
struct Written {
    version: Version,
    remaining: Option<Duration>,
}
