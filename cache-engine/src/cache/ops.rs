//! Reads and stores values without a load.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Error, Key, SetOptions, SetOutcome, Tags, Ttl, Value};

use crate::cache::handle::Cache;
use crate::cache::key::IntoKey;
use crate::event::Event;
use crate::stats::snapshot::CacheTier;
use crate::store::record::{Found, Writer, retention};
use crate::tags::expected::Expected;
use crate::tags::snapshot::TagSnapshot;
use crate::tier::read::{Boxed, Read};

impl<C: Send + Sync + 'static> Cache<C> {
    /// Returns the fresh value of a key.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn get<T>(&self, key: impl IntoKey) -> Result<Option<Arc<T>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.engine.shared.is_used() {
            self.report_unused();
            return Ok(None);
        }
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        if self.engine.contributes() {
            return self.get_within(key).await;
        }
        match self.engine.shared.tier.read_fresh(key, &*self.engine.coder).await {
            ControlFlow::Break((value, tier)) => {
                self.report_hit(key, tier);
                Ok(Some(value))
            }
            ControlFlow::Continue(read) => self.fresh(key, read),
        }
    }

    /// As [`get`](Self::get), in a load. Boxed, to keep the future of a hit small.
    fn get_within<'a, T>(&'a self, key: &'a Key) -> Boxed<'a, Result<Option<Arc<T>>, Error>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        Box::pin(async move {
            let tier = &self.engine.shared.tier;
            let read = match tier.read_near(key, self.engine.coder.type_version()) {
                Some((found, version)) => Read::Fresh(found, version),
                None => tier.read_store(key, &*self.engine.coder).await,
            };
            self.fresh(key, read)
        })
    }

    /// Returns the fresh values of several keys, in the order of the keys. Reads them in one batch.
    ///
    /// # Errors
    /// The store could not be read. One failure fails the batch.
    pub async fn get_many<T, K>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Arc<T>>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
        K: IntoKey,
    {
        let keys: Vec<Key> = keys
            .into_iter()
            .map(|key| key.into_key(&self.namespace).borrow().clone())
            .collect();
        if !self.engine.shared.is_used() {
            keys.iter().for_each(|_| self.report_unused());
            return Ok(vec![None; keys.len()]);
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let reads = self.engine.shared.tier.read_many(&keys, &*self.engine.coder).await;
        keys.iter()
            .zip(reads)
            .map(|(key, read)| self.fresh(key, read))
            .collect()
    }

    fn fresh<T>(&self, key: &Key, read: Read<T>) -> Result<Option<Arc<T>>, Error> {
        let events = &self.engine.shared.events;
        match read {
            Read::Fresh(found, _) => {
                self.report_hit(key, found.tier);
                self.engine.contribute(&found);
                Ok(Some(found.value))
            }
            Read::Unavailable(error) => {
                events.emit(&Event::Outage { key });
                Err(error)
            }
            Read::NegativeHit(_, terms) | Read::FailedLoad(.., terms) => {
                events.emit(&Event::NegativeHit { key });
                self.engine.contribute_terms(|| *terms);
                Ok(None)
            }
            _ => {
                events.emit(&Event::Miss { key });
                Ok(None)
            }
        }
    }

    /// Stores a value under this handle's policy, over any existing one.
    ///
    /// A load of the key that is under way is fenced: its value does not replace this one.
    ///
    /// The versions of this handle's [tags](Self::with_tags) are read now. If the value was read a while ago, and one
    /// of its tags may have been invalidated since, use [`refresh`](Self::refresh), which reads the versions before it
    /// reads the value.
    ///
    /// # Errors
    /// The store did not answer, or refused the write, or the value cannot be encoded.
    ///
    /// # Cancellation
    /// If this future is dropped, or fails because the store did not answer in time, the write may still be carried out
    /// later, and so undo an invalidation that came after it. Where that matters, use [`refresh`](Self::refresh) or a load:
    /// they write only if no invalidation came in between.
    pub async fn set<T>(&self, key: impl IntoKey, value: T) -> Result<(), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.set_shared(key, Arc::new(value)).await
    }

    /// Like [`set`](Self::set), for a value that is already shared.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn set_shared<T>(&self, key: impl IntoKey, value: Arc<T>) -> Result<(), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return Ok(());
        }
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        self.put(key, Some(value), None).await?;
        self.engine.shared.events.emit(&Event::Stored { key });
        Ok(())
    }

    /// Stores several values under this handle's policy, over any existing ones. Otherwise as [`set`](Self::set).
    ///
    /// The values are written in one batch, and the versions of the tags are read once. The batch is not atomic.
    ///
    /// # Errors
    /// As [`set`](Self::set). If a value cannot be encoded, nothing is written. After any other error, any part of the
    /// batch may have been written.
    ///
    /// # Cancellation
    /// As [`set`](Self::set), for any part of the batch.
    pub async fn set_many<T, K>(&self, entries: impl IntoIterator<Item = (K, T)>) -> Result<(), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
        K: IntoKey,
    {
        // Of several values for one key, the last one counts.
        let mut values: HashMap<Key, Arc<T>> = HashMap::new();
        for (key, value) in entries {
            values.insert(key.into_key(&self.namespace).borrow().clone(), Arc::new(value));
        }
        if !self.is_enabled() || values.is_empty() {
            return Ok(());
        }
        let values: Vec<(Key, Arc<T>)> = values.into_iter().collect();
        self.put_all(&values).await?;
        for (key, _) in &values {
            self.engine.shared.events.emit(&Event::Stored { key });
        }
        Ok(())
    }

    async fn put_all<T>(&self, values: &[(Key, Arc<T>)]) -> Result<(), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let (policy, coder) = (&self.engine.policy, &*self.engine.coder);
        let tier = &self.engine.shared.tier;
        let grace = policy.grace(self.engine.shared.leases.time(), None);
        let stamps: Vec<_> = values.iter().map(|(key, _)| tier.stamp(key)).collect();
        let wanted: Vec<_> = values
            .iter()
            .map(|(key, _)| (key.namespace(), &self.engine.tags, None))
            .collect();
        let captured = tier.tags.capture_all(&wanted).await?;
        let mut founds = Vec::with_capacity(values.len());
        let mut writes = Vec::with_capacity(values.len());
        for ((key, value), captured) in values.iter().zip(&captured) {
            let windows = policy.windows();
            let writer = Writer {
                grace,
                ..tier.writer(&captured.tags)
            };
            let encoded = writer
                .value(key, value, coder, windows)
                .inspect_err(|error| tier.events.emit(&Event::not_stored(key, error)))?;
            let found = Found {
                value: Arc::clone(value),
                created: tier.now(),
                windows,
                tags: captured.tags.clone(),
                version: None,
                tier: CacheTier::Store,
                load_time: None,
                type_version: coder.type_version(),
            };
            founds.push((found, encoded.weight()));
            writes.push((key.clone(), encoded, SetOptions::new(retention(&windows, grace))));
        }
        // Jitter only shortens lifetimes.
        let longest = retention(&policy.with_jitter(0.0).windows(), grace);
        let prolong = async {
            for captured in &captured {
                tier.tags.prolong(&captured.tags, &captured.lifetimes, longest).await;
            }
        };
        let (result, ()) = tokio::join!(tier.store.set_many(writes), prolong);
        for (key, _) in values {
            self.engine.shared.flights.detach(key);
        }
        // Written unconditionally, so they are never refused.
        let outcomes = result.as_deref().unwrap_or_default();
        for (at, (((key, _), (mut found, weight)), stamp)) in values.iter().zip(founds).zip(stamps).enumerate() {
            match (outcomes.get(at).and_then(|outcome| outcome.version()), stamp) {
                (Some(version), Some(stamp)) => {
                    found.version = Some(version);
                    tier.keep_own_near(key, &found, version, weight, stamp);
                }
                _ => tier.forget_near(key),
            }
        }
        result.map(drop)
    }

    /// Stores a value, or that there is none, and reports only failures. `load_time` is how long its load took, if it was
    /// loaded.
    pub(crate) async fn put<T>(
        &self,
        key: &Key,
        value: Option<Arc<T>>,
        load_time: Option<Duration>,
    ) -> Result<(), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let (policy, coder) = (&self.engine.policy, &*self.engine.coder);
        let windows = match &value {
            Some(_) => policy.windows(),
            None => policy.negative_windows(policy.negative_ttl.unwrap_or_default()),
        };
        let tier = &self.engine.shared.tier;
        let stamp = tier.stamp(key);
        let load_time = load_time.filter(|_| policy.early_refresh_beta > 0.0);
        let grace = policy.grace(self.engine.shared.leases.time(), load_time);
        let lifetime = retention(&windows, grace);
        let encode = |tags: &Tags| {
            let writer = Writer {
                load_time,
                grace,
                ..tier.writer(tags)
            };
            let encoded = match &value {
                Some(value) => writer.value(key, value, coder, windows),
                None => writer.absent(key, coder.type_version(), windows),
            };
            encoded.inspect_err(|error| tier.events.emit(&Event::not_stored(key, error)))
        };
        let expected = tier.tags.expect(|| key.namespace(), &self.engine.tags);
        let written = match expected.filter(|expected| !expected.is_empty()) {
            // Boxed, since a call moves its whole future.
            Some(expected) => Box::pin(self.put_as_expected(key, &encode, &expected, lifetime)).await?,
            None => None,
        };
        let (result, captured, weight) = match written {
            Some(written) => written,
            None => {
                let captured = tier.capture(key, &self.engine.tags, None).await?;
                let encoded = encode(&captured.tags)?;
                let weight = encoded.weight();
                let (result, ()) = tokio::join!(
                    tier.store.set(key, encoded, SetOptions::new(lifetime)),
                    tier.tags.prolong(&captured.tags, &captured.lifetimes, lifetime)
                );
                (result, captured, weight)
            }
        };
        self.engine.shared.flights.detach(key);
        match (result, stamp, value) {
            (Ok(SetOutcome::Stored(version)), Some(stamp), Some(value)) => {
                let found = Found {
                    value,
                    created: tier.now(),
                    windows,
                    tags: captured.tags,
                    version: Some(version),
                    tier: CacheTier::Store,
                    load_time,
                    type_version: coder.type_version(),
                };
                tier.keep_own_near(key, &found, version, weight, stamp);
            }
            (result, ..) => {
                tier.forget_near(key);
                // Written unconditionally, so it is never refused.
                let _ = result?;
            }
        }
        Ok(())
    }

    /// Writes with the versions that the tags are expected to have, and reads them at the same time. Returns `None` if
    /// they are others: what was written then counts as invalidated, and is to be written again.
    async fn put_as_expected(
        &self,
        key: &Key,
        encode: &(dyn Fn(&Tags) -> Result<Value, Error> + Sync),
        expected: &Expected,
        lifetime: Ttl,
    ) -> Result<Option<(Result<SetOutcome, Error>, TagSnapshot, usize)>, Error> {
        let tier = &self.engine.shared.tier;
        let encoded = encode(&expected.tags)?;
        let weight = encoded.weight();
        let set = tier.store.set(key, encoded, SetOptions::new(lifetime));
        let (result, read) = tokio::join!(set, tier.tags.read_expected(expected));
        match (result, read) {
            (Ok(outcome), Ok((_, Some(captured)))) => {
                tier.tags.prolong(&captured.tags, &captured.lifetimes, lifetime).await;
                Ok(Some((Ok(outcome), captured, weight)))
            }
            (Ok(_), Ok((_, None))) => Ok(None),
            (Err(error), _) | (_, Err(error)) => Ok(Some((Err(error), TagSnapshot::default(), weight))),
        }
    }
}
