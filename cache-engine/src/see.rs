//! What a look into the store shows.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Error, Key, Namespace, Record, Tags, Version};

use crate::core::Core;
use crate::entry::{self, Content, Entry, Found, Freshness};
use crate::event::Event;
use crate::fence::{Basis, Lease};
use crate::tagging::{States, Verdict};

/// What a look into the store shows.
#[derive(Debug)]
pub(crate) enum Seen<T> {
    /// A fresh value.
    Fresh(Found<T>, Version),
    /// A stale value to answer at once, while one load brings a new one.
    Usable(Found<T>, Version),
    /// It is remembered that there is no value.
    Absent(Version),
    /// It is remembered that the load failed.
    Failed(Option<Arc<dyn Any + Send + Sync>>, Arc<str>, Version),
    /// Nothing to answer with. The stale value may still be of use to the load, or if it fails.
    Missing(Basis, Option<Found<T>>),
    /// Somebody is loading, and is given up after this time at the latest.
    Leased(Option<Duration>, Lease),
    /// The store is out of reach.
    Outage,
}

/// What a first look shows: as little as it takes to answer a hit.
#[derive(Debug)]
pub(crate) enum Glimpse<T> {
    Fresh(Arc<T>),
    Other(Seen<T>),
}

impl Core {
    /// As [`look`](Self::look), by the shortest way to a fresh object.
    #[inline]
    pub(crate) async fn glimpse<T, C>(&self, key: &Key, coder: &C) -> Result<Glimpse<T>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if let Some((found, _)) = self.fences.find_near(key) {
            return Ok(Glimpse::Fresh(found.value));
        }
        if self.fences.store.is_local() && !self.fences.tagging.clears_by_epoch() {
            let record = self.fences.store.get_local(key).await?;
            let now = (!self.fences.same_clock).then_some(|| self.fences.now());
            let fresh = record.as_ref().and_then(|record| entry::fresh_object(record, key, now));
            return Ok(match fresh {
                Some(value) => Glimpse::Fresh(value),
                None => match self.judge(record, States::new(), key, coder).await?.0 {
                    Seen::Fresh(found, _) => Glimpse::Fresh(found.value),
                    seen => Glimpse::Other(seen),
                },
            });
        }
        Ok(match self.look(key, coder).await? {
            Seen::Fresh(found, _) => Glimpse::Fresh(found.value),
            seen => Glimpse::Other(seen),
        })
    }

    #[inline]
    pub(crate) async fn see<T, C>(&self, key: &Key, coder: &C) -> Seen<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.look(key, coder).await.unwrap_or(Seen::Outage)
    }

    /// As [`see`](Self::see), with a near copy as good as what is in the store.
    #[inline]
    pub(crate) async fn see_near<T, C>(&self, key: &Key, coder: &C) -> Seen<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        match self.fences.find_near(key) {
            Some((found, version)) => Seen::Fresh(found, version),
            None => self.see(key, coder).await,
        }
    }

    /// As [`see`](Self::see), with the store's error in the place of an outage.
    #[inline]
    pub(crate) async fn look<T, C>(&self, key: &Key, coder: &C) -> Result<Seen<T>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Some(mark) = self.fences.mark(key) else {
            return self.look_far(key, coder).await.map(|(seen, _)| seen);
        };
        let (seen, weight) = self.look_far(key, coder).await?;
        if let Seen::Fresh(found, version) = &seen {
            self.fences.keep_near(key, found, *version, weight, mark);
        }
        Ok(seen)
    }

    /// What the store shows, and how many bytes the record has.
    #[inline]
    async fn look_far<T, C>(&self, key: &Key, coder: &C) -> Result<(Seen<T>, usize), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let store = &self.fences.store;
        if !self.fences.tagging.clears_by_epoch() {
            let record = store.get(key).await?;
            return self.judge(record, States::new(), key, coder).await;
        }
        let mut known = States::new();
        let epochs = self.fences.tagging.epochs_to_read(&key.namespace(), &mut known);
        if epochs.is_empty() {
            let record = store.get(key).await?;
            return self.judge(record, known, key, coder).await;
        }
        let asked = self.fences.tagging.ask();
        let keys: Vec<Key> = std::iter::once(key).chain(&epochs).cloned().collect();
        let mut records = store.get_many(&keys).await?.into_iter();
        let record = records.next().flatten();
        self.fences.tagging.learn(epochs, records, asked, &mut known);
        self.judge(record, known, key, coder).await
    }

    /// As [`look`](Self::look), for several keys in one batch, and another one for their tags. Near copies are as good
    /// as what is in the store.
    pub(crate) async fn look_many<T, C>(&self, keys: &[Key], coder: &C) -> Result<Vec<Seen<T>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if self.fences.near.is_none() {
            return Ok(self
                .look_far_many(keys, coder)
                .await?
                .into_iter()
                .map(|(seen, _)| seen)
                .collect());
        }
        let mut seen: Vec<Option<Seen<T>>> = Vec::with_capacity(keys.len());
        let mut far = Vec::new();
        let mut marks = Vec::new();
        for key in keys {
            let near = self
                .fences
                .find_near(key)
                .map(|(found, version)| Seen::Fresh(found, version));
            if near.is_none() {
                far.push(key.clone());
                marks.push(self.fences.mark(key));
            }
            seen.push(near);
        }
        if far.is_empty() {
            return Ok(seen.into_iter().flatten().collect());
        }
        let looked = self.look_far_many(&far, coder).await?;
        let mut looked = far.iter().zip(marks).zip(looked).map(|((key, mark), (seen, weight))| {
            if let (Seen::Fresh(found, version), Some(mark)) = (&seen, mark) {
                self.fences.keep_near(key, found, *version, weight, mark);
            }
            seen
        });
        Ok(seen
            .into_iter()
            .filter_map(|near| near.or_else(|| looked.next()))
            .collect())
    }

    async fn look_far_many<T, C>(&self, keys: &[Key], coder: &C) -> Result<Vec<(Seen<T>, usize)>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let tagging = &self.fences.tagging;
        let mut known = States::new();
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
        let asked = self.fences.tagging.ask();
        let all: Vec<Key> = keys.iter().chain(&epochs).cloned().collect();
        let mut records = self.fences.store.get_many(&all).await?.into_iter();
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
            Opened::Nothing(basis) => Seen::Missing(basis, None),
            Opened::Entry(entry, record) => self.classify(entry, record, verdict),
        });
        Ok(seen.zip(weights).collect())
    }

    /// What a record shows, once it is known what its tags make of it.
    #[inline]
    async fn judge<T, C>(
        &self,
        record: Option<Record>,
        mut known: States,
        key: &Key,
        coder: &C,
    ) -> Result<(Seen<T>, usize), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let weight = record.as_ref().map_or(0, |record| record.value.weight());
        let seen = match self.open(record, key, coder) {
            Opened::Nothing(basis) => Seen::Missing(basis, None),
            Opened::Entry(entry, written) => {
                let verdict = if self.fences.tagging.concerns(&entry.tags) {
                    let namespace = key.namespace();
                    self.fences.tagging.judge(&namespace, &entry.tags, &mut known).await?
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
            return Opened::Nothing(Basis::Nothing);
        };
        let written = Written {
            version: record.version,
            remaining: record.remaining,
        };
        match entry::read(&record, key, coder) {
            Ok(entry) => Opened::Entry(entry, written),
            Err(error) => {
                self.events.emit(&Event::DecodeFailed { key, error: &error });
                Opened::Nothing(Basis::Record(written.version))
            }
        }
    }

    #[inline]
    fn classify<T>(&self, entry: Entry<T>, written: Written, verdict: Verdict) -> Seen<T> {
        let Written { version, remaining } = written;
        if verdict == Verdict::Gone {
            let basis = match entry.content {
                Content::Lease(_) => Basis::Lease(version),
                _ => Basis::Record(version),
            };
            return Seen::Missing(basis, None);
        }
        let now = self.fences.now();
        let (created, windows) = (entry.created, entry.windows);
        let value = match entry.content {
            Content::Value(value) => value,
            // What is not a value has no use when it is stale.
            Content::Lease(_) if verdict != Verdict::Current => return Seen::Missing(Basis::Lease(version), None),
            // The store keeps a lease for its time, and by its own clock.
            Content::Lease(renews) => {
                let first = renews.unwrap_or(version);
                return Seen::Leased(remaining, Lease { version, first });
            }
            content => {
                let fresh = verdict == Verdict::Current && Freshness::of(created, &windows, now) == Freshness::Fresh;
                return match content {
                    Content::Absent if fresh => Seen::Absent(version),
                    Content::Failure(error, message) if fresh => Seen::Failed(error, message, version),
                    _ => Seen::Missing(Basis::Record(version), None),
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
            Freshness::Fresh => Seen::Fresh(found, version),
            Freshness::StaleWhileRevalidate => Seen::Usable(found, version),
            _ => Seen::Missing(Basis::Record(version), Some(found)),
        }
    }
}

/// A record that was opened.
enum Opened<T> {
    /// None, or of no use.
    Nothing(Basis),
    Entry(Entry<T>, Written),
}

/// What the store says of a record.
#[derive(Debug, Clone, Copy)]
struct Written {
    version: Version,
    remaining: Option<Duration>,
}
