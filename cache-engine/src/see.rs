//! What a look into the store shows.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Error, Key, Namespace, Record, Version};

use crate::core::Core;
use crate::entry::{self, Content, Found, Freshness};
use crate::epoch::{Current, Epochs};
use crate::event::Event;
use crate::fence::Basis;

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
    Leased(Option<Duration>),
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
        if self.fences.store.is_local() && self.fences.epochs.is_none() {
            let record = self.fences.store.get_local(key).await?;
            let now = (!self.fences.same_clock).then_some(|| self.fences.now());
            let fresh = record.as_ref().and_then(|record| entry::fresh_object(record, key, now));
            return Ok(match fresh {
                Some(value) => Glimpse::Fresh(value),
                None => Glimpse::Other(self.classify(record, None, key, coder)),
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

    /// As [`see`](Self::see), with the store's error in the place of an outage.
    #[inline]
    pub(crate) async fn look<T, C>(&self, key: &Key, coder: &C) -> Result<Seen<T>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if self.fences.epochs.is_none() {
            let record = self.fences.store.get(key).await?;
            return Ok(self.classify(record, None, key, coder));
        }
        let [epoch_of_namespace, epoch_of_all] = Epochs::keys(&key.namespace());
        let keys = [key.clone(), epoch_of_namespace, epoch_of_all];
        let mut records = self.fences.store.get_many(&keys).await?.into_iter();
        let record = records.next().flatten();
        let [_, epochs @ ..] = &keys;
        Ok(self.classify(record, Some(&Epochs::read(epochs, records)), key, coder))
    }

    /// As [`look`](Self::look), for several keys in one batch.
    pub(crate) async fn look_many<T, C>(&self, keys: &[Key], coder: &C) -> Result<Vec<Seen<T>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if self.fences.epochs.is_none() {
            let records = self.fences.store.get_many(keys).await?;
            let seen = keys.iter().zip(records);
            return Ok(seen
                .map(|(key, record)| self.classify(record, None, key, coder))
                .collect());
        }
        let mut namespaces: Vec<Namespace> = keys.iter().map(Key::namespace).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let epochs: Vec<_> = namespaces.iter().map(Epochs::keys).collect();
        let all: Vec<Key> = keys.iter().chain(epochs.iter().flatten()).cloned().collect();
        let mut records = self.fences.store.get_many(&all).await?.into_iter();
        let found: Vec<_> = records.by_ref().take(keys.len()).collect();
        let current: Vec<Current> = epochs.iter().map(|keys| Epochs::read(keys, &mut records)).collect();
        let seen = keys.iter().zip(found).map(|(key, record)| {
            let current = namespaces
                .binary_search(&key.namespace())
                .ok()
                .and_then(|at| current.get(at));
            self.classify(record, current, key, coder)
        });
        Ok(seen.collect())
    }

    #[inline]
    fn classify<T, C>(&self, record: Option<Record>, epochs: Option<&Current>, key: &Key, coder: &C) -> Seen<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Some(record) = record else {
            return Seen::Missing(Basis::Nothing, None);
        };
        let version = record.version;
        let entry = match entry::read(&record, key, coder) {
            Ok(entry) => entry,
            Err(error) => {
                self.events.emit(&Event::DecodeFailed { key, error: &error });
                return Seen::Missing(Basis::Record(version), None);
            }
        };
        let cleared = epochs.is_some_and(|current| !Epochs::are_current(&entry.tags, current));
        if cleared {
            let basis = match entry.content {
                Content::Lease => Basis::Lease(version),
                _ => Basis::Record(version),
            };
            return Seen::Missing(basis, None);
        }
        let freshness = Freshness::of(entry.created, &entry.windows, self.fences.now());
        let found = |value| Found {
            value,
            created: entry.created,
            windows: entry.windows,
            tags: entry.tags,
        };
        match (entry.content, freshness) {
            (Content::Value(value), Freshness::Fresh) => Seen::Fresh(found(value), version),
            (Content::Value(value), Freshness::StaleWhileRevalidate) => Seen::Usable(found(value), version),
            (Content::Value(value), _) => Seen::Missing(Basis::Record(version), Some(found(value))),
            // The store keeps a lease for its time, and by its own clock.
            (Content::Lease, _) => Seen::Leased(record.remaining),
            (Content::Absent, Freshness::Fresh) => Seen::Absent(version),
            (Content::Failure(error, message), Freshness::Fresh) => Seen::Failed(error, message, version),
            (Content::Absent | Content::Failure(..), _) => Seen::Missing(Basis::Record(version), None),
        }
    }
}
