//! Reads the counters of a cache.

use std::sync::Arc;

use crate::cache::handle::Cache;
use crate::load::shared::Shared;
use crate::stats::snapshot::{CacheStats, StatsReader, SubscriptionState};

impl<C> Cache<C> {
    /// Returns what this cache, with all of its handles, did since it was built, and its state. Counting needs no
    /// observer. Takes time in proportion to the number of namespaces, and waits for nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::convert::Infallible;
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let cache = Cache::builder(MemoryBackend::default()).build();
    /// let users = cache.with_namespace("users");
    /// for _ in 0..4 {
    ///     users.get_or_load("42", || async { Ok::<_, Infallible>("Ada".to_owned()) }).await?;
    /// }
    ///
    /// let users = cache.stats().total();
    /// assert_eq!((users.requests(), users.misses, users.hits.store), (4, 1, 3));
    /// assert_eq!(users.hit_ratio(), Some(0.75));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.engine.shared.stats()
    }

    /// Gives each observer the means to read the counters.
    pub(super) fn introduce(&self) {
        let shared = &self.engine.shared;
        for observer in shared.events.observers() {
            let shared = Arc::downgrade(shared);
            observer.on_build(StatsReader::new(move || Some(shared.upgrade()?.stats())));
        }
    }
}

impl Shared {
    fn stats(&self) -> CacheStats {
        let (stats, store) = (self.events.stats(), &self.tier.store);
        CacheStats {
            cache: self.events.cache().to_owned(),
            backend: (**store.backend()).name(),
            namespaces: stats.namespaces(),
            tag_invalidations: stats.tag_invalidations.get(),
            clears: stats.clears.get(),
            store_failures: stats.store_failures.get(),
            decode_failures: stats.decode_failures.get(),
            encode_failures: stats.encode_failures.get(),
            store_usage: (**store.backend()).usage(),
            near_usage: self.tier.near.as_ref().and_then(|near| near.usage()),
            breaker: store.breaker_state(),
            subscription: match &self.tier.subscriber {
                None => SubscriptionState::Unsupported,
                Some(subscriber) if subscriber.changes().are_reported() => SubscriptionState::Active,
                Some(subscriber) if subscriber.has_begun() => SubscriptionState::Inactive,
                Some(_) => SubscriptionState::NotBegun,
            },
            feeds: stats.feeds.followed(),
            lost_feeds: stats.feeds.lost(),
            pending_invalidations: self.tier.pending.count(),
            pending_purges: self.tier.downstream.count(),
            in_flight: self.flights.len(),
        }
    }
}
