//! What a cache reports.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, ErrorKind, Key, NotRoundTrip, Scope};

use crate::log::LogLimit;

/// Something that happened in a cache, as an [`Observer`] sees it.
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
    },
    /// A stale value was returned.
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
    /// A caller waits for a load that another one started.
    #[non_exhaustive]
    Coalesced {
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
    /// A loaded value was not stored, since its key was invalidated or written while it was loaded.
    #[non_exhaustive]
    Fenced {
        /// The key.
        key: &'a Key,
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
    /// A load lost its lease, because of an invalidation or because the lease could not be renewed.
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
    },
    /// A key was invalidated or deleted.
    #[non_exhaustive]
    Invalidated {
        /// The key.
        key: &'a Key,
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
    /// The loader outlasted [`Policy::load_timeout`](crate::Policy::load_timeout).
    Timeout,
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
            Self::Coalesced { .. } => "coalesced",
            Self::LoadStarted { .. } => "load_started",
            Self::Loaded { .. } => "loaded",
            Self::LoadFailed { .. } => "load_failed",
            Self::Stored { .. } => "stored",
            Self::Fenced { .. } => "fenced",
            Self::DecodeFailed { .. } => "decode_failed",
            Self::EncodeFailed { .. } => "encode_failed",
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
            Self::PendingFileFailed { .. } => "pending_file_failed",
            Self::TagInvalidated { .. } => "tag_invalidated",
            Self::Cleared { .. } => "cleared",
        }
    }

    /// Returns the key that the event concerns, if there is one.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::Hit { key }
            | Self::Stale { key }
            | Self::NegativeHit { key }
            | Self::Miss { key }
            | Self::Outage { key }
            | Self::Coalesced { key }
            | Self::LoadStarted { key }
            | Self::Loaded { key, .. }
            | Self::LoadFailed { key, .. }
            | Self::Stored { key }
            | Self::Fenced { key }
            | Self::DecodeFailed { key, .. }
            | Self::EncodeFailed { key, .. }
            | Self::NotRoundTrip { key, .. }
            | Self::LeaseLost { key }
            | Self::Evicted { key }
            | Self::Invalidated { key } => Some(key),
            Self::StoreFailed { key, .. } => *key,
            Self::BreakerOpened
            | Self::BreakerClosed
            | Self::SubscriptionBegun
            | Self::SubscriptionLost { .. }
            | Self::InvalidationPending { .. }
            | Self::InvalidationsRecovered { .. }
            | Self::PendingFileFailed { .. }
            | Self::TagInvalidated { .. }
            | Self::Cleared { .. } => None,
        }
    }

    /// Returns whether the event is logged as a warning.
    const fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::DecodeFailed { .. }
                | Self::EncodeFailed { .. }
                | Self::StoreFailed { .. }
                | Self::NotRoundTrip { .. }
                | Self::BreakerOpened
                | Self::BreakerClosed
                | Self::SubscriptionLost { .. }
                | Self::LeaseLost { .. }
                | Self::InvalidationPending { .. }
                | Self::InvalidationsRecovered { .. }
                | Self::PendingFileFailed { .. }
        )
    }
}

/// Receives every [`Event`], in the task where it happens. Implementations must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// Called for each event.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Passes events to the observers and to `tracing`.
#[derive(Clone)]
pub(crate) struct Events {
    observers: Option<Arc<[Arc<dyn Observer>]>>,
    log: Arc<LogLimit>,
}

impl Events {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self {
            observers: if observers.is_empty() {
                None
            } else {
                Some(observers.into())
            },
            log: Arc::new(LogLimit::new()),
        }
    }

    #[inline]
    pub(crate) fn emit(&self, event: &Event<'_>) {
        if event.is_trouble() {
            self.warn(event);
        } else {
            tracing::trace!(target: "cache", event = event.name(), key = event.key().map(Key::as_str));
        }
        if let Some(observers) = &self.observers {
            for observer in observers.iter() {
                observer.on_event(event);
            }
        }
    }

    /// Writes at most one line a second for each kind of event.
    #[cold]
    fn warn(&self, event: &Event<'_>) {
        if let Some(suppressed) = self.log.admit(event.name()) {
            tracing::warn!(target: "cache", event = event.name(), detail = ?event, suppressed);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Events({} observers)",
            self.observers.as_ref().map_or(0, |observers| observers.len())
        )
    }
}
