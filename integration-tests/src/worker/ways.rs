//! Cache implementations that are wrong on purpose.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use cache_core::{
    Backend, Capabilities, Error, Key, Limits, Record, Scope, SetMode, SetOptions, SetOutcome, Value, Version,
    async_trait,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::worker::protocol::Outcome;

/// A store that ignores the conditions of writes.
#[derive(Debug)]
pub(super) struct PlainSets(pub(super) Arc<dyn Backend>);

#[async_trait]
impl Backend for PlainSets {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.0.get(key).await
    }

    async fn set(&self, key: &Key, value: Value, mut options: SetOptions) -> Result<SetOutcome, Error> {
        if let SetMode::IfVersion(_) = options.mode {
            options.mode = SetMode::Always;
        }
        self.0.set(key, value, options).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.0.delete(key).await
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.0.delete_if(key, version).await
    }

    async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        self.0.version(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        self.0.get_many(keys).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        self.0.delete_many(keys).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.0.clear(scope).await
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }
}

/// A store that takes a lost record of a tag for an unchanged one: it returns the record that it read last.
#[derive(Debug)]
pub(super) struct LostTags {
    store: Arc<dyn Backend>,
    known: Mutex<HashMap<Key, Record>>,
}

impl LostTags {
    pub(super) fn over(store: Arc<dyn Backend>) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    fn known(&self, key: &Key, found: Option<Record>) -> Option<Record> {
        if !["!tag:", "!epoch"].iter().any(|kind| key.as_str().contains(kind)) {
            return found;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = found {
            known.insert(key.clone(), record);
        }
        known.get(key).cloned()
    }
}

#[async_trait]
impl Backend for LostTags {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let found = self.store.get(key).await?;
        Ok(self.known(key, found))
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.store.set(key, value, options).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.store.delete(key).await
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.store.delete_if(key, version).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        let found = self.store.get_many(keys).await?;
        Ok(keys
            .iter()
            .zip(found)
            .map(|(key, found)| self.known(key, found))
            .collect())
    }

    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }
}

/// A single flight as it is often written: a caller that joins a running call gets its outcome, even if the key was
/// invalidated since the call began.
#[derive(Debug, Default)]
pub(super) struct NaiveFlights(Mutex<HashMap<String, Shared<BoxFuture<'static, Outcome>>>>);

impl NaiveFlights {
    pub(super) async fn join(self: &Arc<Self>, key: &str, call: BoxFuture<'static, Outcome>) -> Outcome {
        let flight = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = || {
                let (flights, name) = (Arc::clone(self), key.to_owned());
                let flight = AssertUnwindSafe(call).catch_unwind().map(move |outcome| {
                    let mut flights = flights.0.lock().unwrap_or_else(PoisonError::into_inner);
                    flights.remove(&name);
                    outcome.unwrap_or(Outcome::NoValue)
                });
                flight.boxed().shared()
            };
            flights.entry(key.to_owned()).or_insert_with(begin).clone()
        };
        // The flight runs to its end even if all callers leave.
        tokio::spawn(flight).await.unwrap_or(Outcome::NoValue)
    }
}
