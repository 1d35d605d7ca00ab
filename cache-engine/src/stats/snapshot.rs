//! The counts at one moment.

use cache_core::Usage;

use crate::stats::histogram::LoadTimes;

/// A tier of a cache, as [`Event`](crate::Event)s and [`CacheStats`] name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CacheTier {
    /// Copies in this process; see [`CacheBuilder::near`](crate::CacheBuilder::near).
    Near,
    /// The store of the cache.
    Store,
}

impl CacheTier {
    /// Returns `"near"` or `"store"`. Suitable as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Store => "store",
        }
    }
}

/// Counts by tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByTier {
    /// In the near tier.
    pub near: u64,
    /// In the store.
    pub store: u64,
}

impl ByTier {
    /// Returns the sum of both tiers.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.near + self.store
    }
}

/// What a cache did since it was built, and its state. Returned by [`Cache::stats`](crate::Cache::stats).
///
/// Counters are read one after the other while the cache works, so a snapshot is not exact to a single request. They
/// never decrease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// The name of the cache; see [`CacheBuilder::name`](crate::CacheBuilder::name).
    pub cache: String,
    /// The name of the store's kind, for example `"redis"`.
    pub backend: &'static str,
    /// The counts of each namespace that was used, by name. At most 1,000 namespaces are told apart. All others are
    /// counted together, as the last, under the name `!other`.
    pub namespaces: Vec<NamespaceStats>,
    /// How many tags were invalidated.
    pub tag_invalidations: u64,
    /// How often everything below the prefix was cleared.
    pub clears: u64,
    /// How many calls of the store failed. Calls that the circuit breaker prevented are not counted.
    pub store_failures: u64,
    /// How many records could not be decoded.
    pub decode_failures: u64,
    /// How many values could not be encoded, or came back different from the coder
    /// [`Checked`](cache_core::Checked).
    pub encode_failures: u64,
    /// What the store holds, if it is in this process. Includes what other caches keep in it.
    pub store_usage: Option<Usage>,
    /// What the near tier holds, if there is one.
    pub near_usage: Option<Usage>,
    /// Whether the store is called.
    pub breaker: BreakerState,
    /// Whether the store reports changes.
    pub subscription: SubscriptionState,
    /// How many change feeds are followed; see [`Cache::follow`](crate::Cache::follow).
    pub feeds: usize,
    /// How many of them have no connection, so that what they would report goes unnoticed.
    pub lost_feeds: usize,
    /// How many invalidations the store has not carried out yet.
    pub pending_invalidations: usize,
    /// How many invalidations the [purger](crate::CacheBuilder::purger) was not told of yet.
    pub pending_purges: usize,
    /// How many loads of this process are under way.
    pub in_flight: usize,
}

impl CacheStats {
    /// Returns the sums over all namespaces. Their `namespace` is empty.
    #[must_use]
    pub fn total(&self) -> NamespaceStats {
        let mut total = NamespaceStats::default();
        for namespace in &self.namespaces {
            total.add(namespace);
        }
        total
    }
}

/// What happened in one namespace since the cache was built.
///
/// Each request is counted once, in one of the fields from `hits` to `bypasses`. A request is one key of a call of
/// [`Cache`](crate::Cache) or of a cached function, or one request of an HTTP layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceStats {
    /// The name of the namespace, as it is written in keys.
    pub namespace: String,
    /// Requests for which a fresh value was found.
    pub hits: ByTier,
    /// Requests that were answered with a stale value at once.
    pub stale: u64,
    /// Requests for which the store had the result that there is no value, or that its load failed.
    pub negative_hits: u64,
    /// Requests for which nothing usable was found.
    pub misses: u64,
    /// Requests for which the store could not be asked.
    pub outages: u64,
    /// Requests in which the cache took no part, by reason.
    pub bypasses: Vec<(&'static str, u64)>,
    /// Misses and outages that waited for the load of another caller.
    pub coalesced: u64,
    /// Misses and outages that were answered with a stale value, because the load failed or took too long.
    pub stale_if_error: u64,
    /// How many loads began, including refreshes in the background.
    pub loads_started: u64,
    /// How long loads took that have ended, failed ones included.
    pub loads: LoadTimes,
    /// How many loads failed.
    pub load_failures: u64,
    /// How many values were stored.
    pub stored: u64,
    /// How many loaded values were not stored, because their keys were invalidated or written while they were loaded.
    pub fenced: u64,
    /// How many hits were [verified](crate::CacheBuilder::verify) and found to differ from their source.
    pub diverged: u64,
    /// How many responses an HTTP layer did not store, by reason: the `detail` of `Cache-Status`.
    pub refused: Vec<(&'static str, u64)>,
    /// How often the handler behind an HTTP layer confirmed a stale response, with status 304.
    pub revalidated: u64,
    /// How many requests an HTTP layer answered with status 304.
    pub not_modified: u64,
    /// How many keys were invalidated or deleted, and how often the namespace was cleared.
    pub invalidations: u64,
    /// How many records were evicted to make room. Only stores in this process report this.
    pub evictions: ByTier,
}

impl NamespaceStats {
    /// Returns the number of requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let bypasses: u64 = self.bypasses.iter().map(|(_, count)| count).sum();
        self.answered() + self.misses + self.outages + bypasses
    }

    /// Returns the share of requests, 0 to 1, that were answered from the cache, among those that did not bypass it:
    /// hits, stale values and negative hits. Returns `None` if there was no request.
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        let looked_up = self.answered() + self.misses + self.outages;
        (looked_up > 0).then(|| self.answered() as f64 / looked_up as f64)
    }

    /// Returns what happened after `earlier`, a snapshot of the same namespace, or of the same sum of all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let cache = Cache::builder(MemoryBackend::default()).build();
    /// cache.get::<u32>("42").await?;
    /// let earlier = cache.stats().total();
    /// cache.set("42", 1_u32).await?;
    /// cache.get::<u32>("42").await?;
    ///
    /// let since = cache.stats().total().since(&earlier);
    /// assert_eq!((since.requests(), since.hits.store, since.misses), (1, 1, 0));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let tiers = |now: ByTier, then: ByTier| ByTier {
            near: now.near.saturating_sub(then.near),
            store: now.store.saturating_sub(then.store),
        };
        Self {
            namespace: self.namespace.clone(),
            hits: tiers(self.hits, earlier.hits),
            stale: self.stale.saturating_sub(earlier.stale),
            negative_hits: self.negative_hits.saturating_sub(earlier.negative_hits),
            misses: self.misses.saturating_sub(earlier.misses),
            outages: self.outages.saturating_sub(earlier.outages),
            bypasses: reasons_since(&self.bypasses, &earlier.bypasses),
            coalesced: self.coalesced.saturating_sub(earlier.coalesced),
            stale_if_error: self.stale_if_error.saturating_sub(earlier.stale_if_error),
            loads_started: self.loads_started.saturating_sub(earlier.loads_started),
            loads: self.loads.since(&earlier.loads),
            load_failures: self.load_failures.saturating_sub(earlier.load_failures),
            stored: self.stored.saturating_sub(earlier.stored),
            fenced: self.fenced.saturating_sub(earlier.fenced),
            diverged: self.diverged.saturating_sub(earlier.diverged),
            refused: reasons_since(&self.refused, &earlier.refused),
            revalidated: self.revalidated.saturating_sub(earlier.revalidated),
            not_modified: self.not_modified.saturating_sub(earlier.not_modified),
            invalidations: self.invalidations.saturating_sub(earlier.invalidations),
            evictions: tiers(self.evictions, earlier.evictions),
        }
    }

    fn answered(&self) -> u64 {
        self.hits.total() + self.stale + self.negative_hits
    }

    fn add(&mut self, other: &Self) {
        let Self {
            namespace: _,
            hits,
            stale,
            negative_hits,
            misses,
            outages,
            bypasses,
            coalesced,
            stale_if_error,
            loads_started,
            loads,
            load_failures,
            stored,
            fenced,
            diverged,
            refused,
            revalidated,
            not_modified,
            invalidations,
            evictions,
        } = other;
        self.hits.near += hits.near;
        self.hits.store += hits.store;
        self.stale += stale;
        self.negative_hits += negative_hits;
        self.misses += misses;
        self.outages += outages;
        add_reasons(&mut self.bypasses, bypasses);
        self.coalesced += coalesced;
        self.stale_if_error += stale_if_error;
        self.loads_started += loads_started;
        self.loads.add(loads);
        self.load_failures += load_failures;
        self.stored += stored;
        self.fenced += fenced;
        self.diverged += diverged;
        add_reasons(&mut self.refused, refused);
        self.revalidated += revalidated;
        self.not_modified += not_modified;
        self.invalidations += invalidations;
        self.evictions.near += evictions.near;
        self.evictions.store += evictions.store;
    }
}

fn add_reasons(sums: &mut Vec<(&'static str, u64)>, counts: &[(&'static str, u64)]) {
    for (reason, count) in counts {
        match sums.binary_search_by_key(reason, |(known, _)| *known) {
            Ok(at) => sums[at].1 += count,
            Err(at) => sums.insert(at, (*reason, *count)),
        }
    }
}

/// Returns by how much the counts have grown, without those that have not.
fn reasons_since(now: &[(&'static str, u64)], then: &[(&'static str, u64)]) -> Vec<(&'static str, u64)> {
    let grown = now.iter().filter_map(|(reason, count)| {
        let before = then
            .iter()
            .find(|(known, _)| known == reason)
            .map_or(0, |(_, before)| *before);
        (*count > before).then(|| (*reason, count - before))
    });
    grown.collect()
}

/// The state of the circuit breaker; see [`CacheBuilder::breaker`](crate::CacheBuilder::breaker).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// The store is called.
    Closed,
    /// The store is read, and takes no writes: it has refused several in a row.
    ClosedToWrites,
    /// The store is not called, except for a probe now and then.
    Open,
}

impl BreakerState {
    /// Returns `"closed"`, `"closed-to-writes"` or `"open"`. Suitable as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClosedToWrites => "closed-to-writes",
            Self::Open => "open",
        }
    }
}

/// The state of the change subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionState {
    /// The store has none.
    Unsupported,
    /// It was not needed so far, so it was not begun: without a near tier, it is when a call waits for a load in another
    /// process. Also after [`Cache::shutdown`](crate::Cache::shutdown).
    NotBegun,
    /// Changes are not reported: the subscription is lost, or does not begin.
    Inactive,
    /// Changes are reported.
    Active,
}

impl SubscriptionState {
    /// Returns `"unsupported"`, `"not-begun"`, `"inactive"` or `"active"`. Suitable as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::NotBegun => "not-begun",
            Self::Inactive => "inactive",
            Self::Active => "active",
        }
    }
}

/// Reads the counters of a cache for an [`Observer`](crate::Observer). Does not keep the cache alive.
#[derive(Clone)]
pub struct StatsReader(Read);

type Read = std::sync::Arc<dyn Fn() -> Option<CacheStats> + Send + Sync>;

impl StatsReader {
    pub(crate) fn new(read: impl Fn() -> Option<CacheStats> + Send + Sync + 'static) -> Self {
        Self(std::sync::Arc::new(read))
    }

    /// Returns the counts at this moment, or `None` if the cache no longer exists.
    #[must_use]
    pub fn read(&self) -> Option<CacheStats> {
        (self.0)()
    }
}

impl std::fmt::Debug for StatsReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatsReader")
    }
}
