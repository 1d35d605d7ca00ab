//! A correct and simple backend, for the tests of the test kit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use cache_core::{
    Backend, Capabilities, Change, Clock, Error, ErrorKind, Key, Limits, ManualClock, Record, Scope, SetMode,
    SetOptions, SetOutcome, Subscription, SystemClock, Timestamp, Value, VersionSource, View,
};
use tokio::sync::Notify;

/// A map behind a lock. Clones share it.
#[derive(Debug, Clone)]
pub struct Reference {
    pub clock: Arc<dyn Clock>,
    pub map: Arc<Mutex<BTreeMap<String, Stored>>>,
    pub versions: Arc<VersionSource>,
    watchers: Arc<Mutex<Vec<Weak<Watcher>>>>,
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
            watchers: Arc::default(),
            closed: Arc::default(),
        }
    }

    /// Returns another handle to the same map, which is closed separately.
    pub fn another_handle(&self) -> Self {
        Self {
            closed: Arc::default(),
            ..self.clone()
        }
    }

    /// Reports a change to the subscriptions. Call it while the map is locked.
    pub fn tell(&self, key: &str) {
        for watcher in self.watchers.lock().unwrap().iter().filter_map(Weak::upgrade) {
            if key.starts_with(&watcher.scope) {
                watcher.changed.lock().unwrap().push_back(Key::parse(key).unwrap());
                watcher.wake.notify_one();
            }
        }
    }

    /// Simulates a round trip to a store.
    pub async fn travel(&self) -> Result<(), Error> {
        tokio::task::yield_now().await;
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the backend was closed"));
        }
        Ok(())
    }

    pub fn live(&self, map: &BTreeMap<String, Stored>, key: &str) -> Option<Record> {
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

    fn view(&self, key: &Key, see: &mut dyn FnMut(View<'_>) -> bool) {
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        if let Some(record) = self.live(&self.map.lock().unwrap(), key.as_str())
            && let Value::Shared(object) = &record.value
        {
            let outlives = |time| record.remaining.map(|left| left > time);
            let _ = see(View::new(object, &outlives));
        }
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
                self.tell(key.as_str());
                return Err(Error::new(ErrorKind::TooLarge, "more than 1 MiB"));
            } else {
                let version = self.versions.next();
                let stored = Stored {
                    record: Record::new(value, version, None),
                    deadline: options.ttl.as_duration().map(|ttl| self.clock.now() + ttl),
                };
                map.insert(key.as_str().to_owned(), stored);
                self.tell(key.as_str());
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
            self.tell(key.as_str());
            live
        };
        tokio::task::yield_now().await;
        Ok(removed)
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.travel().await?;
        let mut map = self.map.lock().unwrap();
        let before = map.len();
        map.retain(|key, _| {
            let kept = !key.starts_with(scope.as_str());
            if !kept {
                self.tell(key);
            }
            kept
        });
        Ok((before - map.len()) as u64)
    }

    async fn ping(&self) -> Result<(), Error> {
        self.travel().await
    }

    async fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::SeqCst);
        for watcher in self.watchers.lock().unwrap().iter().filter_map(Weak::upgrade) {
            watcher.wake.notify_one();
        }
        Ok(())
    }

    async fn subscribe(&self, scope: &Scope, heartbeat: Duration) -> Result<Box<dyn Subscription>, Error> {
        self.travel().await?;
        let watcher = Arc::new(Watcher {
            scope: scope.as_str().to_owned(),
            changed: Mutex::default(),
            wake: Notify::new(),
            closed: self.closed.clone(),
        });
        self.watchers.lock().unwrap().push(Arc::downgrade(&watcher));
        Ok(Box::new(Watch {
            watcher,
            map: self.map.clone(),
            heartbeat,
            said: None,
        }))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_clear(true)
            .with_shared_objects(true)
            .with_subscribe(true)
    }

    fn limits(&self) -> Limits {
        Limits::default().with_value_bytes(VALUE_BYTES).with_batch(100)
    }
}

#[derive(Debug)]
struct Watcher {
    scope: String,
    changed: Mutex<VecDeque<Key>>,
    wake: Notify,
    closed: Arc<AtomicBool>,
}

/// A subscription.
#[derive(Debug)]
struct Watch {
    watcher: Arc<Watcher>,
    map: Arc<Mutex<BTreeMap<String, Stored>>>,
    heartbeat: Duration,
    /// When the last heartbeat was sent.
    said: Option<Instant>,
}

impl Watch {
    fn ready(&mut self) -> Option<Change> {
        // Changes are reported before the lock is released.
        let _map = self.map.lock().unwrap();
        if let Some(key) = self.watcher.changed.lock().unwrap().pop_front() {
            return Some(Change::Record(key));
        }
        if self.said.is_some_and(|said| said.elapsed() < self.heartbeat) {
            return None;
        }
        let now = Instant::now();
        self.said = Some(now);
        Some(Change::Heartbeat(now))
    }
}

#[cache_core::async_trait]
impl Subscription for Watch {
    async fn next(&mut self) -> Option<Change> {
        loop {
            if self.watcher.closed.load(Ordering::SeqCst) {
                return None;
            }
            if let Some(change) = self.ready() {
                return Some(change);
            }
            let _ = tokio::time::timeout(self.heartbeat, self.watcher.wake.notified()).await;
        }
    }
}
