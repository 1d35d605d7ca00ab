//! The handle of a cache.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cache_core::{Backend, Json, Key, KeyName, Namespace, OptionalDuration};
use tokio::time::Instant;

use crate::load::engine::Engine;
use crate::load::policy::Policy;
use crate::stats::counters::NamespaceCounters;
use crate::stats::snapshot::CacheTier;

/// How long a shutdown waits for a purger.
const LAST_PURGES: Duration = Duration::from_secs(10);

/// Why a request bypasses a cache that is switched off.
const DISABLED: &str = "disabled";

/// Why a request bypasses a cache that is switched on: its task runs in [`bypass`](crate::bypass).
const BYPASSED: &str = "bypass";

/// A cache: one policy engine over a backend.
///
/// Clones are cheap and share everything. Handles made by [`with_namespace`](Self::with_namespace),
/// [`with_policy`](Self::with_policy) and similar methods share everything except what the method sets. Two caches that
/// were built separately never see each other, unless they share a store and a prefix.
///
/// # Errors and outages
///
/// The methods that load never fail because of the store. While the store is unavailable, values are loaded and shared
/// with the waiting callers, but not stored. The plain operations ([`get`](Self::get), [`set`](Self::set),
/// [`invalidate`](Self::invalidate), …) return the errors of the store.
pub struct Cache<C = Json> {
    pub(crate) engine: Engine<C>,
    pub(crate) namespace: Arc<Namespace>,
    /// The counters of the namespace.
    pub(crate) counters: Arc<NamespaceCounters>,
}

impl<C> Cache<C> {
    /// Returns a handle whose names are in the namespace `name`.
    #[must_use]
    pub fn with_namespace(&self, name: &str) -> Self {
        let namespace = self.engine.shared.prefix.namespace(name);
        Self {
            counters: self.engine.shared.events.stats().of(&namespace),
            namespace: Arc::new(namespace),
            ..self.clone()
        }
    }

    /// Returns a handle with another policy.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        let mut cache = self.clone();
        cache.engine.set_policy(policy);
        cache
    }

    /// Returns a handle with the policy of this one, changed by `change`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cache_engine::Cache;
    /// # let cache = Cache::builder(cache_memory::MemoryBackend::default()).build();
    /// let quotes = cache.policy_with(|policy| policy.with_jitter(0.1).with_soft_timeout(Duration::from_millis(200)));
    /// # let _ = quotes;
    /// ```
    #[must_use]
    pub fn policy_with(&self, change: impl FnOnce(Policy) -> Policy) -> Self {
        self.with_policy(change(self.engine.policy))
    }

    /// Returns a handle with a policy under which a value is fresh for `ttl`. `None` is for ever.
    #[must_use]
    pub fn with_ttl(&self, ttl: impl OptionalDuration) -> Self {
        self.with_policy(self.engine.policy.with_ttl(ttl))
    }

    /// Returns a handle with another coder.
    #[must_use]
    pub fn with_coder<D>(&self, coder: D) -> Cache<D> {
        Cache {
            engine: Engine {
                shared: Arc::clone(&self.engine.shared),
                policy: self.engine.policy,
                on_hit: self.engine.on_hit,
                tags: self.engine.tags.clone(),
                coder: Arc::new(coder),
            },
            namespace: Arc::clone(&self.namespace),
            counters: Arc::clone(&self.counters),
        }
    }

    /// Returns a handle whose entries carry these tags, in addition to those of this handle.
    /// [`invalidate_tag`](Self::invalidate_tag) invalidates the entries. Tags belong to the whole cache, whatever the
    /// namespace. Loads read the versions of their tags before they begin, so that an invalidation during the load is
    /// not missed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::convert::Infallible;
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let cache = Cache::builder(MemoryBackend::default()).build();
    /// let profile = cache.with_namespace("profiles").with_tags(["user:42"]);
    /// profile.get_or_load("42", || async { Ok::<_, Infallible>("Ada".to_owned()) }).await?;
    ///
    /// cache.invalidate_tag("user:42").await?;
    /// assert!(profile.get::<String>("42").await?.is_none());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_tags<N: AsRef<str>>(&self, tags: impl IntoIterator<Item = N>) -> Self {
        let mut cache = self.clone();
        cache.engine.tags = self.engine.tags.with(tags);
        cache
    }

    /// Returns the name of the cache: what [`CacheBuilder::name`](crate::CacheBuilder::name) has set, or its prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        self.engine.shared.events.cache()
    }

    /// Returns the policy of this handle.
    pub fn policy(&self) -> &Policy {
        &self.engine.policy
    }

    /// Returns the namespace of this handle.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Returns the full key of `name` in this handle's namespace.
    #[must_use]
    pub fn key(&self, name: impl Into<KeyName>) -> Key {
        self.namespace.key(name)
    }

    /// Returns the store, for operations that the cache does not offer.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        self.engine.shared.tier.store.backend()
    }

    /// Reports that a fresh value was found.
    #[inline]
    pub(crate) fn report_hit(&self, key: &Key, tier: CacheTier) {
        self.engine.shared.events.hit(&self.counters, key, tier);
    }

    /// Reports a request in which the cache took no part.
    pub(crate) fn report_bypass(&self, reason: &'static str) {
        let events = &self.engine.shared.events;
        events.bypassed(&self.counters, self.namespace.name(), reason);
    }

    /// Reports a request in which the cache took no part, since it is switched off or the task bypasses it.
    #[cold]
    pub(crate) fn report_unused(&self) {
        self.report_bypass(if self.is_enabled() { BYPASSED } else { DISABLED });
    }

    /// Returns whether the cache is switched on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.engine.shared.is_enabled()
    }

    /// Switches the cache, with all of its handles, on or off at run time. While it is off, nothing is read, stored or
    /// coalesced: every load runs. Deleting, invalidating and clearing still work, so that nothing outdated is found
    /// when the cache is on again.
    pub fn set_enabled(&self, enabled: bool) {
        self.engine.shared.enabled.store(enabled, Ordering::Relaxed);
    }

    /// Returns how many loads of this process are under way, including refreshes.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.engine.shared.flights.len()
    }

    /// Waits until what runs in the background has ended, and leaves the cache open: loads, refreshes, the release of
    /// leases, one attempt to carry out [pending invalidations](Self::pending_invalidations), and one to tell a
    /// [purger](crate::CacheBuilder::purger) of what it does not know yet.
    ///
    /// For tests, and for processes that are frozen between requests, such as serverless functions; see also
    /// [`CacheBuilder::foreground`](crate::CacheBuilder::foreground). It waits for what other callers have started too,
    /// as long as there is something, so call it where the process has nothing else to do. Dropping the future only
    /// stops the waiting. Do not call it within a load, which would wait for itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::convert::Infallible;
    /// use std::time::Duration;
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let cache = Cache::builder(MemoryBackend::default())
    ///     .stale_while_revalidate(Duration::from_secs(60))
    ///     .build();
    /// cache.set("greeting", "old".to_owned()).await?;
    /// cache.soft().invalidate("greeting").await?;
    ///
    /// let load = || async { Ok::<_, Infallible>("new".to_owned()) };
    /// assert_eq!(*cache.get_or_load("greeting", load).await?, "old");
    /// cache.settled().await;
    /// assert_eq!(*cache.get_or_load("greeting", load).await?, "new");
    /// # Ok(()) }
    /// ```
    pub async fn settled(&self) {
        let shared = &self.engine.shared;
        shared.tasks.wait().await;
        if !shared.tier.pending.is_empty() {
            shared.tier.carry_out_pending().await;
        }
        shared.tier.downstream.settle().await;
    }

    /// Returns how many invalidations the [purger](crate::CacheBuilder::purger) has not been told of yet, because it
    /// failed, or works. They are tried again until it succeeds, with pauses of 250 ms that grow to 30 s, or when there is
    /// a new one. Of several [servers](crate::Purger::by_server), the one that lacks most counts. Zero without a purger.
    #[must_use]
    pub fn pending_purges(&self) -> usize {
        self.engine.shared.tier.downstream.count()
    }

    /// Waits until all loads and refreshes that run in the background have ended, and starts no refresh from now on.
    /// Refreshes and [verifications](crate::CacheBuilder::verify) that have not ended after 5 s are cancelled: nobody waits
    /// for them, and the stale values stay.
    ///
    /// Invalidations that are [pending](Self::pending_invalidations) are tried until they succeed, for the pause of the
    /// [circuit breaker](crate::CacheBuilder::breaker), one [time limit](crate::CacheBuilder::backend_timeout) and one
    /// second: 2.5 s by default, and never more than 10 s. A store that answers again is noticed within that time. If some
    /// are still pending then, their number is logged at level error, and
    /// [`pending_invalidations`](Self::pending_invalidations) returns it. A [purger](crate::CacheBuilder::purger) then gets
    /// up to 10 s for what it does not know yet.
    ///
    /// The change subscription ends, without a [`SubscriptionLost`](crate::Event::SubscriptionLost). It begins again if
    /// the cache is used again.
    ///
    /// The store is not closed, since others may use it; see [`Backend::close`]. Dropping the future only stops the
    /// waiting.
    pub async fn shutdown(&self) {
        self.engine.shared.tasks.close();
        self.engine.shared.tasks.wait().await;
        let tier = &self.engine.shared.tier;
        tier.carry_out_last_pending().await;
        if let Some(subscriber) = &tier.subscriber {
            subscriber.end();
        }
        tier.downstream.settle_last(Instant::now() + LAST_PURGES).await;
        let rest = tier.downstream.count();
        if rest > 0 {
            tracing::error!(target: "cache", rest, "purges are still pending: caches downstream may hold old responses");
        }
        let rest = tier.pending.count();
        if rest > 0 {
            tracing::error!(target: "cache", rest, "invalidations are still pending: other processes may find old values");
        }
    }
}

impl<C> Clone for Cache<C> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            namespace: Arc::clone(&self.namespace),
            counters: Arc::clone(&self.counters),
        }
    }
}

impl<C> fmt::Debug for Cache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("backend", self.backend())
            .field("namespace", &self.namespace)
            .field("policy", &self.engine.policy)
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}
