//! The counters of one namespace.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::Key;

use crate::stats::histogram::Histogram;
use crate::stats::reasons::Reasons;
use crate::stats::snapshot::{ByTier, CacheTier, NamespaceStats};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter that shares its cache line with no other, since many threads write it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(Counter);

/// The counters of one namespace, or of all for which there is no room.
#[derive(Debug, Default)]
pub(crate) struct NamespaceCounters {
    near_hits: Apart,
    store_hits: Apart,
    /// What the keys of the namespace begin with. Empty for all namespaces for which there is no room.
    scope: Box<str>,
    name: Box<str>,
    pub(crate) stale: Counter,
    pub(crate) negative_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) outages: Counter,
    pub(crate) bypasses: Reasons,
    pub(crate) coalesced: Counter,
    pub(crate) stale_if_error: Counter,
    pub(crate) loads_started: Counter,
    pub(crate) loads: Histogram,
    pub(crate) load_failures: Counter,
    pub(crate) stored: Counter,
    pub(crate) fenced: Counter,
    pub(crate) diverged: Counter,
    pub(crate) refused: Reasons,
    pub(crate) revalidated: Counter,
    pub(crate) not_modified: Counter,
    pub(crate) invalidations: Counter,
    near_evictions: Counter,
    store_evictions: Counter,
}

impl NamespaceCounters {
    pub(crate) fn new(scope: &str, name: &str) -> Self {
        Self {
            scope: scope.into(),
            name: name.into(),
            ..Self::default()
        }
    }

    /// Returns whether `key` is counted here.
    #[inline]
    pub(crate) fn covers(&self, key: &Key) -> bool {
        key.as_str().as_bytes().starts_with(self.scope.as_bytes())
    }

    #[inline]
    pub(crate) fn hit(&self, tier: CacheTier) {
        match tier {
            CacheTier::Near => self.near_hits.0.add_one(),
            CacheTier::Store => self.store_hits.0.add_one(),
        }
    }

    pub(crate) fn evicted(&self, tier: CacheTier) {
        match tier {
            CacheTier::Near => self.near_evictions.add_one(),
            CacheTier::Store => self.store_evictions.add_one(),
        }
    }

    pub(crate) fn stats(&self) -> NamespaceStats {
        let by_tier = |near: u64, store: u64| ByTier { near, store };
        NamespaceStats {
            namespace: self.name.to_string(),
            hits: by_tier(self.near_hits.0.get(), self.store_hits.0.get()),
            stale: self.stale.get(),
            negative_hits: self.negative_hits.get(),
            misses: self.misses.get(),
            outages: self.outages.get(),
            bypasses: self.bypasses.counts(),
            coalesced: self.coalesced.get(),
            stale_if_error: self.stale_if_error.get(),
            loads_started: self.loads_started.get(),
            loads: self.loads.times(),
            load_failures: self.load_failures.get(),
            stored: self.stored.get(),
            fenced: self.fenced.get(),
            diverged: self.diverged.get(),
            refused: self.refused.counts(),
            revalidated: self.revalidated.get(),
            not_modified: self.not_modified.get(),
            invalidations: self.invalidations.get(),
            evictions: by_tier(self.near_evictions.get(), self.store_evictions.get()),
        }
    }
}
