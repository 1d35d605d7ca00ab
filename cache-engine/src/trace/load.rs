//! The spans of loads, and of what else a cache does for its callers or in the background.

use std::future::Future;

use cache_core::Key;
use tracing::field::Empty;
use tracing::instrument::Instrument;
#[cfg(feature = "functions")]
use tracing::span::Entered;
use tracing::span::Id;
use tracing::{Span, debug_span, info_span};

use crate::event::LoadFailure;
use crate::trace::{clipped, count, record_key};

/// For whom a load, or other work, runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunsFor {
    /// For the caller, which waits for it: its span is a child of the caller's.
    Caller,
    /// For nobody: the caller goes on. Its span links to the caller's, which may end before.
    Nobody,
}

/// Creates a span at a level. For nobody, it has no parent, and links to the current span.
macro_rules! span_for {
    ($whom:expr, $level:ident, $target:literal, $name:literal, $($fields:tt)*) => {
        match $whom {
            RunsFor::Caller => $level!(target: $target, $name, $($fields)*),
            RunsFor::Nobody => {
                // A child would keep its parent from ending.
                let span = $level!(target: $target, parent: None, $name, $($fields)*);
                if !span.is_disabled() {
                    span.follows_from(&Span::current());
                }
                span
            }
        }
    };
}

/// The span of a load; see [`Fill::span`](crate::Fill::span).
#[derive(Debug, Clone)]
pub struct LoadSpan(Span);

impl LoadSpan {
    /// Returns the span of a load that is not traced.
    pub(crate) fn none() -> Self {
        Self(Span::none())
    }

    /// Creates the span of a load that begins now: of `key`, or of a batch of so many keys of which `key` is one.
    pub(crate) fn new(cache: &str, key: &Key, batch: Option<usize>, is_refresh: bool, whom: RunsFor) -> Self {
        let namespace = clipped(key.namespace_name());
        // The metadata of a span are constant, so each name is written out.
        macro_rules! span {
            ($target:literal, $name:literal) => {
                span_for!(
                    whom,
                    info_span,
                    $target,
                    $name,
                    otel.status_code = Empty,
                    cache.name = cache,
                    cache.namespace = namespace,
                    cache.key = Empty,
                    cache.load.keys = batch.and_then(count),
                    cache.load.outcome = Empty,
                    error.type = Empty,
                )
            };
        }
        let span = match is_refresh {
            true => span!("cache::refresh", "cache.refresh"),
            false => span!("cache::load", "cache.load"),
        };
        if batch.is_none() {
            record_key(&span, key);
        }
        Self(span)
    }

    /// Runs `work` in the span: a part of the load. If loads are not traced, `work` runs in the current span.
    pub fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.instrument(self.0.clone())
    }

    /// Enters the span, to poll a part of the load.
    #[cfg(feature = "functions")]
    pub(crate) fn entered(&self) -> Entered<'_> {
        self.0.enter()
    }

    pub(crate) fn id(&self) -> Option<Id> {
        self.0.id()
    }

    /// Records how the load ended.
    pub(crate) fn record_outcome(&self, outcome: &'static str) {
        self.0.record("cache.load.outcome", outcome);
    }

    /// Records that the load failed.
    pub(crate) fn record_failure(&self, failure: LoadFailure) {
        self.record_outcome(failure.as_str());
        self.0.record("error.type", failure.as_str());
        // That a load is given up is no error of it.
        if failure != LoadFailure::Cancelled {
            self.0.record("otel.status_code", "ERROR");
        }
    }

    pub(crate) fn into_span(self) -> Span {
        self.0
    }
}

/// Creates the span of a wait for the load that another caller leads, or for several.
pub(crate) fn waiting(cache: &str, key: &Key, loads: impl Iterator<Item = Id>) -> Span {
    let span = debug_span!(
        target: "cache::wait",
        "cache.wait",
        cache.name = cache,
        cache.namespace = clipped(key.namespace_name()),
        cache.key = Empty,
    );
    if !span.is_disabled() {
        record_key(&span, key);
        for load in loads {
            span.follows_from(load);
        }
    }
    span
}

/// Creates the span of the verification of a hit.
pub(crate) fn verification(cache: &str, key: &Key, whom: RunsFor) -> Span {
    let span = span_for!(
        whom,
        info_span,
        "cache::verify",
        "cache.verify",
        cache.name = cache,
        cache.namespace = clipped(key.namespace_name()),
        cache.key = Empty,
    );
    record_key(&span, key);
    span
}

/// Creates the span of a set of invalidations.
pub(crate) fn invalidation(cache: &str, whom: RunsFor) -> Span {
    span_for!(
        whom,
        debug_span,
        "cache::invalidate",
        "cache.invalidate",
        cache.name = cache
    )
}

/// Creates the span of the commit of a transaction, and of the invalidations that follow it.
pub(crate) fn commit(cache: &str) -> Span {
    info_span!(target: "cache::commit", "cache.commit", cache.name = cache)
}

/// Returns the span of the load that the current task works on. For tasks that end it, such as the release of its lease:
/// they do not run in the span of a caller, which must end with the caller.
pub(crate) fn current() -> Span {
    let span = Span::current();
    let is_load = |span: &Span| {
        span.metadata()
            .is_some_and(|metadata| matches!(metadata.target(), "cache::load" | "cache::refresh"))
    };
    if is_load(&span) { span } else { Span::none() }
}
