//! A correct backend, as plain as can be, for the tests of the test kit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use cache_core::{
    Backend, Capabilities, Clock, Error, ErrorKind, Key, Limits, ManualClock, Record, Scope, SetMode, SetOptions,
    SetOutcome, SystemClock, Timestamp, Value, VersionSource,
};

/// A map behind a lock. Clones share it.
#[derive(Debug, Clone)]
pub struct Reference {
    pub clock: Arc<dyn Clock>,
    pub map: Arc<Mutex<BTreeMap<String, Stored>>>,
    pub versions: Arc<VersionSource>,
    closed: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
pub struct Stored {
    pub record: Record,
    pub deadline: Option<Timestamp>,
}

pub const VALUE_BYTES: usize = 1 << 20;

impl Reference {
    pub fn new() -> Self {
        Self::on(Arc::new(SystemClock))
    }

    pub fn with_clock(clock: ManualClock) -> Self {
        Self::on(Arc::new(clock))
    }

    fn on(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            map: Arc::default(),
            versions: Arc::default(),
            closed: Arc::default(),
        }
    }

    /// A handle to the same map that is closed on its own.
    pub fn another_handle(&self) -> Self {
        Self {
            closed: Arc::default(),
            ..self.clone()
        }
    }

    /// Stands for the way to a store and back.
    pub async fn travel(&self) -> Result<(), Error> {
        tokio::task::yield_now().await;
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the backend was closed"));
        }
        Ok(())
    }

    fn live(&self, map: &BTreeMap<String, Stored>, key: &str) -> Option<Record> {
        let mut stored = map.get(key)?.clone();
        let now = self.clock.now();
        if let Some(deadline) = stored.deadline {
            if deadline <= now {
                return None;
            }
            stored.record.remaining = Some(deadline.saturating_since(now));
        }
        Some(stored.record)
    }
}

#[cache_core::async_trait]
impl Backend for Reference {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.travel().await?;
        let found = self.live(&self.map.lock().unwrap(), key.as_str());
        tokio::task::yield_now().await;
        Ok(found)
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.travel().await?;
        let outcome = {
            let mut map = self.map.lock().unwrap();
            let current = self.live(&map, key.as_str());
            let allowed = match options.mode {
                SetMode::Always => true,
                SetMode::IfAbsent => current.is_none(),
                SetMode::IfVersion(version) => current.is_some_and(|record| record.version == version),
            };
            if !allowed {
                SetOutcome::Refused
            } else if value.weight() > VALUE_BYTES {
                map.remove(key.as_str());
                return Err(Error::new(ErrorKind::TooLarge, "more than 1 MiB"));
            } else {
                let version = self.versions.next();
                let stored = Stored {
                    record: Record::new(value, version, None),
                    deadline: options.ttl.as_duration().map(|ttl| self.clock.now() + ttl),
                };
                map.insert(key.as_str().to_owned(), stored);
                SetOutcome::Stored(version)
            }
        };
        tokio::task::yield_now().await;
        Ok(outcome)
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.travel().await?;
        let removed = {
            let mut map = self.map.lock().unwrap();
            let live = self.live(&map, key.as_str()).is_some();
            map.remove(key.as_str());
            live
        };
        tokio::task::yield_now().await;
        Ok(removed)
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.travel().await?;
        let mut map = self.map.lock().unwrap();
        let before = map.len();
        map.retain(|key, _| !key.starts_with(scope.as_str()));
        Ok((before - map.len()) as u64)
    }

    async fn ping(&self) -> Result<(), Error> {
        self.travel().await
    }

    async fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_clear(true).with_shared_objects(true)
    }

    fn limits(&self) -> Limits {
        Limits::default().with_value_bytes(VALUE_BYTES).with_batch(100)
    }
}
