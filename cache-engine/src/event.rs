//! What a cache tells of its work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, Key, Scope};

/// Something that happened in a cache.
#[non_exhaustive]
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A fresh value was found.
    Hit {
        /// The key.
        key: &'a Key,
    },
    /// A value past its freshness was answered.
    Stale {
        /// The key.
        key: &'a Key,
    },
    /// It was remembered that there is no value, or that its load failed.
    NegativeHit {
        /// The key.
        key: &'a Key,
    },
    /// Nothing usable was found.
    Miss {
        /// The key.
        key: &'a Key,
    },
    /// The store could not be asked, or was left alone, so nobody knows whether there is a value. It is loaded.
    Outage {
        /// The key.
        key: &'a Key,
    },
    /// A caller waits for a load that another one started.
    Coalesced {
        /// The key.
        key: &'a Key,
    },
    /// A load began.
    LoadStarted {
        /// The key.
        key: &'a Key,
    },
    /// A load ended with a value, or with the answer that there is none.
    Loaded {
        /// The key.
        key: &'a Key,
        /// How long it took.
        took: Duration,
    },
    /// A load ended with an error, a panic or a timeout.
    LoadFailed {
        /// The key.
        key: &'a Key,
        /// How long it took.
        took: Duration,
        /// How it ended.
        failure: LoadFailure,
    },
    /// A loaded or given value was stored.
    Stored {
        /// The key.
        key: &'a Key,
    },
    /// A loaded value was not stored, since its key was invalidated or written while it was loaded.
    Fenced {
        /// The key.
        key: &'a Key,
    },
    /// A record could not be read as what it should be, and counts as a miss.
    DecodeFailed {
        /// The key.
        key: &'a Key,
        /// What is wrong with it.
        error: &'a Error,
    },
    /// The store failed.
    StoreFailed {
        /// The operation.
        operation: &'static str,
        /// The key, where there is one.
        key: Option<&'a Key>,
        /// What the store reported.
        error: &'a Error,
    },
    /// After repeated failures the store is left alone for a while.
    BreakerOpened,
    /// The store answered again and is used as before.
    BreakerClosed,
    /// The store tells of changes from now on: for the first time, or again after [`SubscriptionLost`](Self::SubscriptionLost).
    SubscriptionBegun,
    /// The store no longer tells of changes: near copies are of no use until it does, or until they have their maximum
    /// age, and whoever waits for another process's load asks for it again and again.
    SubscriptionLost {
        /// What was reported.
        error: &'a Error,
    },
    /// The load's lease was lost, by an invalidation or because it could not be renewed.
    LeaseLost {
        /// The key.
        key: &'a Key,
    },
    /// A record was evicted to make room.
    Evicted {
        /// The key.
        key: &'a Key,
    },
    /// A key was invalidated or deleted.
    Invalidated {
        /// The key.
        key: &'a Key,
    },
    /// The store did not carry out an invalidation, which is tried again until it does.
    InvalidationPending {
        /// How many are pending.
        count: usize,
    },
    /// Pending invalidations were carried out.
    InvalidationsRecovered {
        /// How many.
        count: usize,
    },
    /// The file of pending invalidations could not be read or written; see
    /// [`CacheBuilder::pending_file`](crate::CacheBuilder::pending_file).
    PendingFileFailed {
        /// What is wrong with it.
        error: &'a Error,
    },
    /// A tag was invalidated.
    TagInvalidated {
        /// The tag.
        tag: &'a str,
        /// What carries it may still be used while it is stale.
        soft: bool,
    },
    /// A namespace, or everything below the prefix, was cleared.
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

impl Event<'_> {
    /// The event's name in lower case with underscores, for example `"load_failed"`; fit for a metric's label.
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
            Self::StoreFailed { .. } => "store_failed",
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

    /// The key that the event is about, where there is one.
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

    /// Whether the event tells of trouble that somebody should look at.
    const fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::DecodeFailed { .. }
                | Self::StoreFailed { .. }
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

/// Is told of every [`Event`], in the task where it happens. It must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of `event`.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Hands events to the observers and to `tracing`.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Arc<[Arc<dyn Observer>]>>);

impl Events {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self(if observers.is_empty() {
            None
        } else {
            Some(observers.into())
        })
    }

    #[inline]
    pub(crate) fn emit(&self, event: &Event<'_>) {
        if event.is_trouble() {
            tracing::warn!(target: "cache", event = event.name(), detail = ?event);
        } else {
            tracing::trace!(target: "cache", event = event.name(), key = event.key().map(Key::as_str));
        }
        if let Some(observers) = &self.0 {
            for observer in observers.iter() {
                observer.on_event(event);
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Events({} observers)",
            self.0.as_ref().map_or(0, |observers| observers.len())
        )
    }
}
