//! Publishes what caches have counted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_engine::{CacheStats, StatsReader};
use metrics::{counter, gauge};
use tokio::time::MissedTickBehavior;

use crate::names;
use crate::samples::{Gauge, Labels, counters, gauges};

/// The metrics of one cache, or of several: an observer for [`CacheBuilder::observer`](cache_engine::CacheBuilder::observer).
///
/// Clones share what they know, so pass one to each cache. The metrics go to the recorder that is installed when they are
/// published, or when a duration is recorded.
///
/// Caches of the same name are one in the metrics: their counters and sizes are added up, and of their states the worst
/// counts. Once they are gone, their gauges are 0, but for the state of their change subscription: that is 1, since nothing
/// is lost.
#[derive(Clone, Default)]
pub struct CacheMetrics {
    by_namespace: bool,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    watched: Vec<Watched>,
    /// The gauges that were set at some time, with what they are set to once no cache has them.
    set: HashMap<(&'static str, Labels), Gauge>,
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { watched, set } = &mut *known;
        // Caches of one name are one in the metrics.
        let mut now: HashMap<_, Gauge> = HashMap::new();
        watched.retain_mut(|cache| {
            let Some(stats) = cache.stats.read() else {
                return false;
            };
            cache.publish(&stats, self.by_namespace);
            for (name, labels, gauge) in gauges(&stats) {
                let all = with_name(&stats.cache, &labels);
                now.entry((name, all))
                    .and_modify(|known| *known = known.and(gauge))
                    .or_insert(gauge);
            }
            true
        });
        // An exporter would show the last value for ever.
        for (series, gauge) in set.iter().filter(|(series, _)| !now.contains_key(series)) {
            gauge!(series.0, &series.1).set(gauge.of_none());
        }
        for ((name, labels), gauge) in now {
            gauge!(name, &labels).set(gauge.value());
            set.insert((name, labels), gauge);
        }
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.watched.push(Watched {
            stats,
            published: HashMap::new(),
        });
    }
}

impl Watched {
    fn publish(&mut self, stats: &CacheStats, by_namespace: bool) {
        for (name, labels, count) in counters(stats, by_namespace) {
            let counter = counter!(name, &with_name(&stats.cache, &labels));
            let published = self.published.insert((name, labels), count).unwrap_or_default();
            counter.increment(count.saturating_sub(published));
        }
    }
}

fn with_name(cache: &str, labels: &Labels) -> Labels {
    let name = (names::NAME, cache.to_owned());
    std::iter::once(name).chain(labels.iter().cloned()).collect()
}

impl fmt::Debug for CacheMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("CacheMetrics")
            .field("by_namespace", &self.by_namespace)
            .field("caches", &known.watched.len())
            .finish()
    }
}
