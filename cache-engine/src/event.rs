//! What a cache reports.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, ErrorKind, Key, Namespace, NotRoundTrip, Scope};

use crate::log::LogLimit;
use crate::panics::panic_message;
use crate::stats::counters::{Counter, NamespaceCounters};
use crate::stats::recent::Invalidated;
use crate::stats::registry::Stats;
use crate::stats::snapshot::{CacheTier, StatsReader};

/// Something that happened in a cache, as an [`Observer`] sees it.
///
/// Each request is exactly one of [`Hit`](Self::Hit), [`Stale`](Self::Stale), [`NegativeHit`](Self::NegativeHit),
/// [`Miss`](Self::Miss), [`Outage`](Self::Outage) and [`Bypassed`](Self::Bypassed). A request is one key of a call of
/// [`Cache`](crate::Cache) or of a cached function, or one request of an HTTP layer, however many records that takes. All
/// other events say what came of it, or what happened besides.
///
/// Events and their fields may be added in any release, so a `match` needs `..` and a last arm for all others.
#[non_exhaustive]
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A fresh value was found.
    #[non_exhaustive]
    Hit {
        /// The key.
        key: &'a Key,
        /// Where it was found.
        tier: CacheTier,
    },
    /// A stale value was returned at once, while it may be refreshed in the background.
    #[non_exhaustive]
    Stale {
        /// The key.
        key: &'a Key,
    },
    /// The store has an entry which says that there is no value, or that its load failed.
    #[non_exhaustive]
    NegativeHit {
        /// The key.
        key: &'a Key,
    },
    /// Nothing usable was found.
    #[non_exhaustive]
    Miss {
        /// The key.
        key: &'a Key,
    },
    /// The store did not answer, or the circuit breaker is open, so whether there is a value is unknown. The value is
    /// loaded.
    #[non_exhaustive]
    Outage {
        /// The key.
        key: &'a Key,
    },
    /// The cache took no part in a request: it is switched off, or an HTTP layer does not look up such requests.
    #[non_exhaustive]
    Bypassed {
        /// The name of the namespace, as it is written in keys.
        namespace: &'a str,
        /// Why, in lower case with hyphens. An HTTP layer uses the words of `detail` in `Cache-Status`, and `"method"`.
        /// There are few reasons, and none contains anything of the request.
        reason: &'static str,
    },
    /// A miss, or an outage, waits for a load that another caller started.
    #[non_exhaustive]
    Coalesced {
        /// The key.
        key: &'a Key,
    },
    /// A miss, or an outage, was answered with a stale value, because the load failed or took too long.
    #[non_exhaustive]
    StaleIfError {
        /// The key.
        key: &'a Key,
    },
    /// A load began.
    #[non_exhaustive]
    LoadStarted {
        /// The key.
        key: &'a Key,
    },
    /// A load returned a value, or reported that there is none.
    #[non_exhaustive]
    Loaded {
        /// The key.
        key: &'a Key,
        /// How long it took.
        took: Duration,
    },
    /// A load ended with an error, a panic or a timeout.
    #[non_exhaustive]
    LoadFailed {
        /// The key.
        key: &'a Key,
        /// How long it took.
        took: Duration,
        /// How it ended.
        failure: LoadFailure,
    },
    /// A loaded or given value was stored.
    #[non_exhaustive]
    Stored {
        /// The key.
        key: &'a Key,
    },
    /// An HTTP layer did not store a response.
    #[non_exhaustive]
    Refused {
        /// The key of the request.
        key: &'a Key,
        /// Why: the word that `detail` in `Cache-Status` has for it.
        reason: &'static str,
    },
    /// The handler behind an HTTP layer confirmed a stale response with status 304.
    #[non_exhaustive]
    Revalidated {
        /// The key of the request.
        key: &'a Key,
    },
    /// An HTTP layer answered a request with status 304, because the client has the response already.
    #[non_exhaustive]
    NotModified {
        /// The key of the request.
        key: &'a Key,
    },
    /// A loaded value was not stored, since its key was invalidated or written while it was loaded.
    #[non_exhaustive]
    Fenced {
        /// The key.
        key: &'a Key,
    },
    /// A hit was [verified](crate::CacheBuilder::verify): its source has another value by now, and nothing has invalidated
    /// the entry.
    #[non_exhaustive]
    Diverged {
        /// The key.
        key: &'a Key,
        /// The age of the entry.
        age: Duration,
    },
    /// A record could not be decoded. It counts as a miss.
    #[non_exhaustive]
    DecodeFailed {
        /// The key.
        key: &'a Key,
        /// What is wrong with the record.
        error: &'a Error,
    },
    /// A value was not stored, because its coder could not encode it.
    #[non_exhaustive]
    EncodeFailed {
        /// The key.
        key: &'a Key,
        /// What the coder reported.
        error: &'a Error,
    },
    /// A call of the store ended. Only for stores outside of this process, and not for calls that the circuit breaker
    /// prevented or a caller gave up.
    #[non_exhaustive]
    StoreCalled {
        /// The name of the store's kind, for example `"redis"`.
        backend: &'static str,
        /// The name of the operation, for example `"get"`.
        operation: &'static str,
        /// The key, if the operation concerns a single one.
        key: Option<&'a Key>,
        /// How long it took.
        took: Duration,
        /// The kind of its error, if it failed.
        failure: Option<ErrorKind>,
    },
    /// The store failed.
    #[non_exhaustive]
    StoreFailed {
        /// The name of the operation that failed.
        operation: &'static str,
        /// The key, if the operation concerns a single one.
        key: Option<&'a Key>,
        /// What the store reported.
        error: &'a Error,
    },
    /// A value was not stored, because it changes when it is encoded and decoded. Only the coder
    /// [`Checked`](cache_core::Checked) reports this.
    #[non_exhaustive]
    NotRoundTrip {
        /// The key.
        key: &'a Key,
        /// What the coder reported.
        error: &'a Error,
    },
    /// The circuit breaker has opened: after repeated failures, the store is not called for a while.
    BreakerOpened,
    /// The circuit breaker has closed: the store answered again, and is used as before.
    BreakerClosed,
    /// The change subscription has begun, for the first time or again after
    /// [`SubscriptionLost`](Self::SubscriptionLost).
    SubscriptionBegun,
    /// The change subscription is lost. Until it begins again, near copies are not used, or only up to their maximum
    /// age, and callers that wait for a load in another process poll the store.
    #[non_exhaustive]
    SubscriptionLost {
        /// The error that was reported.
        error: &'a Error,
    },
    /// A load lost its lease, because of an invalidation or because the lease could not be renewed, or it took longer than
    /// [`max_lease`](crate::CacheBuilder::max_lease). Others load in its place.
    #[non_exhaustive]
    LeaseLost {
        /// The key.
        key: &'a Key,
    },
    /// A record was evicted to make room.
    #[non_exhaustive]
    Evicted {
        /// The key.
        key: &'a Key,
        /// Where.
        tier: CacheTier,
    },
    /// A key was invalidated or deleted.
    #[non_exhaustive]
    Invalidated {
        /// The key.
        key: &'a Key,
        /// Whether the invalidation was soft, so that the value may still be used while it is stale.
        soft: bool,
    },
    /// The store did not carry out an invalidation. It is retried until it succeeds.
    #[non_exhaustive]
    InvalidationPending {
        /// The number of pending invalidations.
        count: usize,
    },
    /// Pending invalidations were carried out.
    #[non_exhaustive]
    InvalidationsRecovered {
        /// The number of invalidations that were carried out.
        count: usize,
    },
    /// A [`Purger`](crate::Purger) was told of invalidations.
    #[non_exhaustive]
    Purged {
        /// Their number.
        count: usize,
    },
    /// A [`Purger`](crate::Purger) failed. It is told again until it succeeds.
    #[non_exhaustive]
    PurgeFailed {
        /// What it reported.
        error: &'a Error,
        /// The number of invalidations that it is to be told of.
        count: usize,
    },
    /// The file of pending invalidations could not be read or written, or another process has written it too; see
    /// [`CacheBuilder::pending_file`](crate::CacheBuilder::pending_file).
    #[non_exhaustive]
    PendingFileFailed {
        /// The error from reading or writing the file.
        error: &'a Error,
    },
    /// A tag was invalidated.
    #[non_exhaustive]
    TagInvalidated {
        /// The tag.
        tag: &'a str,
        /// Whether the invalidation was soft, so that entries with the tag may still be used while they are stale.
        soft: bool,
    },
    /// A namespace, or everything below the prefix, was cleared.
    #[non_exhaustive]
    Cleared {
        /// What was cleared.
        scope: &'a Scope,
        /// Whether it was cleared softly, so that its entries may still be used while they are stale.
        soft: bool,
    },
}

/// How a load failed.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFailure {
    /// The loader returned an error.
    Error,
    /// The loader panicked.
    Panic,
    /// The loader outlasted [`Policy::load_timeout`](crate::Policy::load_timeout), or a refresh in the background
    /// [`CacheBuilder::max_lease`](crate::CacheBuilder::max_lease).
    Timeout,
    /// The load was given up before its end, because its caller left, because others had waited for it for as long as
    /// they may, or because the cache was [shut down](crate::Cache::shutdown).
    Cancelled,
}

impl LoadFailure {
    /// Returns the failure in lower case, for example `"timeout"`. Suitable as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }
}

impl<'a> Event<'a> {
    /// Returns the event which reports that a value for `key` was not stored because of `error`.
    pub(crate) fn not_stored(key: &'a Key, error: &'a Error) -> Self {
        match std::error::Error::source(error) {
            Some(source) if source.is::<NotRoundTrip>() => Self::NotRoundTrip { key, error },
            _ if error.kind() == ErrorKind::Codec => Self::EncodeFailed { key, error },
            _ => Self::StoreFailed {
                operation: "set",
                key: Some(key),
                error,
            },
        }
    }
}

impl Event<'_> {
    /// Returns the event's name in lower case with underscores, for example `"load_failed"`. Suitable as a metric
    /// label.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hit { .. } => "hit",
            Self::Stale { .. } => "stale",
            Self::NegativeHit { .. } => "negative_hit",
            Self::Miss { .. } => "miss",
            Self::Outage { .. } => "outage",
            Self::Bypassed { .. } => "bypassed",
            Self::Coalesced { .. } => "coalesced",
            Self::StaleIfError { .. } => "stale_if_error",
            Self::LoadStarted { .. } => "load_started",
            Self::Loaded { .. } => "loaded",
            Self::LoadFailed { .. } => "load_failed",
            Self::Stored { .. } => "stored",
            Self::Refused { .. } => "refused",
            Self::Revalidated { .. } => "revalidated",
            Self::NotModified { .. } => "not_modified",
            Self::Fenced { .. } => "fenced",
            Self::Diverged { .. } => "diverged",
            Self::DecodeFailed { .. } => "decode_failed",
            Self::EncodeFailed { .. } => "encode_failed",
            Self::StoreCalled { .. } => "store_called",
            Self::StoreFailed { .. } => "store_failed",
            Self::NotRoundTrip { .. } => "not_round_trip",
            Self::BreakerOpened => "breaker_opened",
            Self::BreakerClosed => "breaker_closed",
            Self::SubscriptionBegun => "subscription_begun",
            Self::SubscriptionLost { .. } => "subscription_lost",
            Self::LeaseLost { .. } => "lease_lost",
            Self::Evicted { .. } => "evicted",
            Self::Invalidated { .. } => "invalidated",
            Self::InvalidationPending { .. } => "invalidation_pending",
            Self::InvalidationsRecovered { .. } => "invalidations_recovered",
            Self::Purged { .. } => "purged",
            Self::PurgeFailed { .. } => "purge_failed",
            Self::PendingFileFailed { .. } => "pending_file_failed",
            Self::TagInvalidated { .. } => "tag_invalidated",
            Self::Cleared { .. } => "cleared",
        }
    }

    /// Returns the key that the event concerns, if there is one.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::Hit { key, .. }
            | Self::Stale { key }
            | Self::StaleIfError { key }
            | Self::Refused { key, .. }
            | Self::Revalidated { key }
            | Self::NotModified { key }
            | Self::NegativeHit { key }
            | Self::Miss { key }
            | Self::Outage { key }
            | Self::Coalesced { key }
            | Self::LoadStarted { key }
            | Self::Loaded { key, .. }
            | Self::LoadFailed { key, .. }
            | Self::Stored { key }
            | Self::Fenced { key }
            | Self::Diverged { key, .. }
            | Self::DecodeFailed { key, .. }
            | Self::EncodeFailed { key, .. }
            | Self::NotRoundTrip { key, .. }
            | Self::LeaseLost { key }
            | Self::Evicted { key, .. }
            | Self::Invalidated { key, .. } => Some(key),
            Self::StoreFailed { key, .. } | Self::StoreCalled { key, .. } => *key,
            Self::Bypassed { .. }
            | Self::BreakerOpened
            | Self::BreakerClosed
            | Self::SubscriptionBegun
            | Self::SubscriptionLost { .. }
            | Self::InvalidationPending { .. }
            | Self::InvalidationsRecovered { .. }
            | Self::Purged { .. }
            | Self::PurgeFailed { .. }
            | Self::PendingFileFailed { .. }
            | Self::TagInvalidated { .. }
            | Self::Cleared { .. } => None,
        }
    }

    /// Returns the name of the namespace that the event concerns, as it is written in keys, if there is one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Bypassed { namespace, .. } => Some(namespace),
            _ => self.key().map(Key::namespace_name),
        }
    }

    /// Returns the tier that answered, or that evicted a record, if the event is about one.
    #[must_use]
    pub const fn tier(&self) -> Option<CacheTier> {
        match self {
            Self::Hit { tier, .. } | Self::Evicted { tier, .. } => Some(*tier),
            Self::Stale { .. } | Self::NegativeHit { .. } => Some(CacheTier::Store),
            _ => None,
        }
    }

    /// Returns whether the event is logged as a warning.
    const fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::Diverged { .. }
                | Self::DecodeFailed { .. }
                | Self::EncodeFailed { .. }
                | Self::StoreFailed { .. }
                | Self::NotRoundTrip { .. }
                | Self::BreakerOpened
                | Self::BreakerClosed
                | Self::SubscriptionLost { .. }
                | Self::LeaseLost { .. }
                | Self::InvalidationPending { .. }
                | Self::InvalidationsRecovered { .. }
                | Self::PurgeFailed { .. }
                | Self::PendingFileFailed { .. }
        )
    }
}

/// Receives every [`Event`], in the task where it happens. Implementations must be quick and must not block. A panic is
/// logged, and has no other effect.
pub trait Observer: Send + Sync + 'static {
    /// Called for each event.
    fn on_event(&self, event: &Event<'_>);

    /// Called for each event, with the [name](crate::CacheBuilder::name) of the cache that it happened in. Override it in
    /// an observer of several caches. The provided method calls [`on_event`](Self::on_event).
    fn on_event_of(&self, cache: &str, event: &Event<'_>) {
        let _ = cache;
        self.on_event(event);
    }

    /// Called once when a cache with this observer is built. `stats` reads its counters. The provided method does nothing.
    fn on_build(&self, stats: StatsReader) {
        drop(stats);
    }
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Counts events, and passes them to the observers and to `tracing`.
#[derive(Clone)]
pub(crate) struct Events {
    cache: Arc<str>,
    observers: Option<Arc<[Arc<dyn Observer>]>>,
    log: Arc<LogLimit>,
    stats: Arc<Stats>,
}

impl Events {
    pub(crate) fn new(cache: &str, observers: Vec<Arc<dyn Observer>>) -> Self {
        Self {
            cache: cache.into(),
            observers: if observers.is_empty() {
                None
            } else {
                Some(observers.into())
            },
            log: Arc::new(LogLimit::new()),
            stats: Arc::new(Stats::new()),
        }
    }

    pub(crate) fn cache(&self) -> &str {
        &self.cache
    }

    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    pub(crate) fn observers(&self) -> &[Arc<dyn Observer>] {
        self.observers.as_deref().unwrap_or_default()
    }

    /// Counts an event, and passes it on.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.count(event);
        self.tell(event);
    }

    /// Counts a hit, and passes it on. `counters` are those of the namespace that the key is likely to be in.
    #[inline]
    pub(crate) fn hit(&self, counters: &NamespaceCounters, key: &Key, tier: CacheTier) {
        if counters.covers(key) {
            counters.hit(tier);
        } else {
            self.stats.hit(key, tier);
        }
        self.tell(&Event::Hit { key, tier });
    }

    #[inline]
    fn tell(&self, event: &Event<'_>) {
        if event.is_trouble() {
            self.warn(event);
        } else {
            tracing::trace!(target: "cache", event = event.name(), key = event.key().map(Key::as_str));
        }
        if let Some(observers) = &self.observers {
            for observer in observers.iter() {
                // Many events are emitted in the middle of a request, and some while a load that panicked unwinds.
                let told = catch_unwind(AssertUnwindSafe(|| observer.on_event_of(&self.cache, event)));
                if let Err(panic) = told {
                    self.observer_panicked(event, &*panic);
                }
            }
        }
    }

    fn count(&self, event: &Event<'_>) {
        let stats = &self.stats;
        // The records that the toolkit keeps for itself are in namespaces of their own.
        let counters = |key: &Key| (!key.is_reserved()).then(|| stats.of_key(key));
        let add_one = |key: &Key, counter: fn(&NamespaceCounters) -> &Counter| {
            if let Some(counters) = counters(key) {
                counter(&counters).add_one();
            }
        };
        match event {
            Event::Hit { key, tier } => stats.hit(key, *tier),
            Event::Stale { key } => add_one(key, |counters| &counters.stale),
            Event::NegativeHit { key } => add_one(key, |counters| &counters.negative_hits),
            Event::Miss { key } => add_one(key, |counters| &counters.misses),
            Event::Outage { key } => add_one(key, |counters| &counters.outages),
            Event::Coalesced { key } => add_one(key, |counters| &counters.coalesced),
            Event::StaleIfError { key } => add_one(key, |counters| &counters.stale_if_error),
            Event::LoadStarted { key } => add_one(key, |counters| &counters.loads_started),
            Event::Loaded { key, took } => stats.of_key(key).loads.record(*took),
            Event::LoadFailed { key, took, .. } => {
                let counters = stats.of_key(key);
                counters.loads.record(*took);
                counters.load_failures.add_one();
            }
            Event::Stored { key } => add_one(key, |counters| &counters.stored),
            Event::Diverged { key, .. } => add_one(key, |counters| &counters.diverged),
            Event::Refused { key, reason } => {
                stats.of_key(key).refused.add(reason);
                stats.refusals.add(key, reason);
                if let Some(recent) = stats.recent_events.get() {
                    recent.refused(key, reason);
                }
            }
            Event::Revalidated { key } => add_one(key, |counters| &counters.revalidated),
            Event::NotModified { key } => add_one(key, |counters| &counters.not_modified),
            Event::Fenced { key } => add_one(key, |counters| &counters.fenced),
            Event::Invalidated { key, soft } => {
                if let Some(counters) = counters(key) {
                    counters.invalidations.add_one();
                    stats.invalidated(Invalidated::Key(key), *soft);
                }
            }
            Event::Evicted { key, tier } => {
                if let Some(counters) = counters(key) {
                    counters.evicted(*tier);
                }
            }
            Event::DecodeFailed { .. } => stats.decode_failures.add_one(),
            Event::EncodeFailed { .. } | Event::NotRoundTrip { .. } => stats.encode_failures.add_one(),
            Event::StoreFailed { .. } => stats.store_failures.add_one(),
            Event::TagInvalidated { tag, soft } => {
                stats.tag_invalidations.add_one();
                stats.invalidated(Invalidated::Tag(tag), *soft);
            }
            // Counted where the namespace is at hand: `Bypassed` and `Cleared`.
            Event::Bypassed { .. }
            | Event::Cleared { .. }
            | Event::StoreCalled { .. }
            | Event::BreakerOpened
            | Event::BreakerClosed
            | Event::SubscriptionBegun
            | Event::SubscriptionLost { .. }
            | Event::LeaseLost { .. }
            | Event::InvalidationPending { .. }
            | Event::InvalidationsRecovered { .. }
            | Event::Purged { .. }
            | Event::PurgeFailed { .. }
            | Event::PendingFileFailed { .. } => {}
        }
    }

    /// Counts a request that bypasses the cache, and passes that on.
    pub(crate) fn bypassed(&self, counters: &NamespaceCounters, namespace: &str, reason: &'static str) {
        counters.bypasses.add(reason);
        self.tell(&Event::Bypassed { namespace, reason });
    }

    /// Counts the clearing of a namespace, or of everything, and passes it on.
    pub(crate) fn cleared(&self, namespace: Option<&Namespace>, scope: &Scope, soft: bool) {
        let target = match namespace {
            Some(namespace) => {
                self.stats.of(namespace).invalidations.add_one();
                Invalidated::Namespace(namespace)
            }
            None => {
                self.stats.clears.add_one();
                Invalidated::Everything
            }
        };
        self.stats.invalidated(target, soft);
        self.tell(&Event::Cleared { scope, soft });
    }

    /// Returns whether there is an observer.
    pub(crate) fn is_observed(&self) -> bool {
        self.observers.is_some()
    }

    #[cold]
    fn observer_panicked(&self, event: &Event<'_>, panic: &(dyn Any + Send)) {
        if let Some(suppressed) = self.log.admit("observer_panicked") {
            let message = panic_message(panic);
            tracing::error!(target: "cache", event = event.name(), suppressed, "an observer panicked: {message}");
        }
    }

    /// Writes at most one line a second for each kind of event.
    #[cold]
    fn warn(&self, event: &Event<'_>) {
        if let Some(suppressed) = self.log.admit(event.name()) {
            tracing::warn!(target: "cache", event = event.name(), suppressed, "{event}");
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({} observers)", self.observers().len())
    }
}
