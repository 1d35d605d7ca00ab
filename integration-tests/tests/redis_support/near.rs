//! Caches with near copies, each like a process of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::Backend;
use cache_engine::{Cache, CacheBuilder, Event, Observer};
use cache_memory::MemoryBackend;
use cache_redis::RedisBackend;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The time limit of events, for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A bound that no test reaches.
pub(crate) const NO_BOUND: Duration = Duration::from_secs(3600);

/// A log of event names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<&'static str>>, Notify)>);

impl Log {
    /// Waits until an event has happened `times` times.
    pub(crate) async fn until(&self, name: &str, times: usize) {
        let happened = async {
            loop {
                let notified = self.0.1.notified();
                if self.count(name) >= times {
                    return;
                }
                notified.await;
            }
        };
        let waited = timeout(PATIENCE, happened).await;
        waited.unwrap_or_else(|_| panic!("{name} has not happened {times} times: {:?}", self.0.0.lock().unwrap()));
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.0.lock().unwrap().iter().filter(|noted| **noted == name).count()
    }
}

impl Observer for Log {
    fn on_event(&self, event: &Event<'_>) {
        // Events of every call are left out.
        if matches!(event, Event::SubscriptionBegun | Event::SubscriptionLost { .. }) {
            self.0.0.lock().unwrap().push(event.name());
            self.0.1.notify_waiters();
        }
    }
}

pub(crate) struct Node {
    pub(crate) cache: Cache,
    pub(crate) log: Log,
}

impl Node {
    pub(crate) async fn start(url: &str, prefix: &str, bound: Duration) -> Self {
        let redis = RedisBackend::connect(url).await.unwrap();
        Self::over(redis, prefix, |builder| builder.near_max_silence(bound)).await
    }

    /// Makes a node, and waits until its subscription has begun.
    pub(crate) async fn over(
        redis: impl Backend,
        prefix: &str,
        settings: impl FnOnce(CacheBuilder) -> CacheBuilder,
    ) -> Self {
        let log = Log::default();
        let builder = Cache::builder(redis)
            .prefix(prefix)
            .namespace("n")
            .ttl(Duration::from_secs(3600))
            .backend_timeout(Duration::from_secs(10))
            .near(MemoryBackend::default())
            .observer(log.clone());
        let cache = settings(builder).build();
        assert_eq!(cache.get::<u64>("whatever").await.unwrap(), None);
        log.until("subscription_begun", 1).await;
        Self { cache, log }
    }

    pub(crate) async fn nodes(count: usize, url: &str, prefix: &str) -> Vec<Self> {
        let nodes = (0..count).map(|_| Self::start(url, prefix, NO_BOUND));
        futures_util::future::join_all(nodes).await
    }

    pub(crate) async fn read(&self, key: &str) -> Option<u64> {
        self.cache.get::<u64>(key).await.unwrap().map(|value| *value)
    }

    /// Returns the near copy, without a call to Redis.
    pub(crate) fn copy(&self, key: &str) -> Option<u64> {
        self.cache
            .adapter()
            .read_local::<u64>(&self.cache.key(key))
            .map(|value| *value)
    }

    /// Reads until there is a near copy with this value.
    pub(crate) async fn has_copy(&self, key: &str, value: u64) {
        let copied = until(PATIENCE, async || {
            self.read(key).await == Some(value) && self.copy(key) == Some(value)
        });
        assert!(copied.await, "there is no copy of {key} = {value}");
    }
}

/// Makes a cache without near copies, like another process.
pub(crate) async fn plain(url: &str, prefix: &str) -> Cache {
    Cache::builder(RedisBackend::connect(url).await.unwrap())
        .prefix(prefix)
        .namespace("n")
        .ttl(Duration::from_secs(3600))
        .backend_timeout(Duration::from_secs(10))
        .build()
}

/// Waits until the condition holds. Returns whether it did within `limit`.
pub(crate) async fn until(limit: Duration, mut is_so: impl AsyncFnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so().await {
        if begun.elapsed() > limit {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}
