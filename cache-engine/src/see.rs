//! What a look into the store shows.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Key, Record, Version};

use crate::core::Core;
use crate::entry::{self, Content, Found, Freshness};
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

impl Core {
    #[inline]
    pub(crate) async fn see<T, C>(&self, key: &Key, coder: &C) -> Seen<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        match self.fences.store.get(key).await {
            Ok(record) => self.classify(record, key, coder),
            Err(_) => Seen::Outage,
        }
    }

    #[inline]
    pub(crate) fn classify<T, C>(&self, record: Option<Record>, key: &Key, coder: &C) -> Seen<T>
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
        let freshness = Freshness::of(entry.created, &entry.windows, self.fences.now());
        let found = |value| Found {
            value,
            created: entry.created,
            windows: entry.windows,
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
