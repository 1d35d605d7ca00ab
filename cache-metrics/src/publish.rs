//! Publishes what caches have counted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_engine::{CacheStats, StatsReader};
use metrics::{counter, gauge};
use tokio::time::MissedTickBehavior;

use crate::names;
use crate::samples::{Labels, counters, gauges};

/// The metrics of one cache, or of several: an observer for [`CacheBuilder::observer`](cache_engine::CacheBuilder::observer).
///
/// Clones share what they know, so pass one to each cache. The metrics go to the recorder that is installed when they are
/// published, or when a duration is recorded.
#[derive(Clone, Default)]
pub struct CacheMetrics {
    by_namespace: bool,
    watched: Arc<Mutex<Vec<Watched>>>,
}

/// A cache, and what was published of it.
struct Watched {
    stats: StatsReader,
    published: HashMap<(&'static str, Labels), u64>,
}

impl CacheMetrics {
    /// Returns the metrics for caches that are still to be built.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether counters also have the label `cache.namespace`. Default: `false`. Set it if your namespaces are few:
    /// each has about twenty counters. At most 1,000 are told apart, and the others are counted as `!other`.
    #[must_use]
    pub fn with_namespaces(self, by_namespace: bool) -> Self {
        Self { by_namespace, ..self }
    }

    /// Adds what was counted since the last call to the counters, and sets the gauges. Call it before your exporter
    /// is asked, for example in the handler of `/metrics`.
    pub fn publish(&self) {
        names::describe();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain_mut(|cache| match cache.stats.read() {
            Some(stats) => {
                cache.publish(&stats, self.by_namespace);
                true
            }
            None => false,
        });
    }

    /// [Publishes](Self::publish) at each `interval`, for ever. For exporters that push. Spawn it, or drop the future to
    /// end it.
    pub async fn publish_every(self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.publish();
        }
    }

    /// Adds a cache.
    pub(crate) fn watch(&self, stats: StatsReader) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push(Watched {
            stats,
            published: HashMap::new(),
        });
    }
}

impl Watched {
    fn publish(&mut self, stats: &CacheStats, by_namespace: bool) {
        let label = (names::NAME, stats.cache.clone());
        let all =
            |labels: &Labels| -> Labels { std::iter::once(label.clone()).chain(labels.iter().cloned()).collect() };
        for (name, labels, count) in counters(stats, by_namespace) {
            let counter = counter!(name, &all(&labels));
            let published = self.published.insert((name, labels), count).unwrap_or_default();
            counter.increment(count.saturating_sub(published));
        }
        for (name, labels, value) in gauges(stats) {
            gauge!(name, &all(&labels)).set(value);
        }
    }
}

impl fmt::Debug for CacheMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("CacheMetrics")
            .field("by_namespace", &self.by_namespace)
            .field("caches", &watched.len())
            .finish()
    }
}
