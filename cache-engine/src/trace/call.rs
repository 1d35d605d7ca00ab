//! The span of a call of a store, as OpenTelemetry's conventions for database clients have it.

use cache_core::{Error, Key};
use tracing::Span;
use tracing::field::Empty;

use crate::trace::{count, record_key};

/// A call of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The name of the cache.
    pub(crate) cache: &'a str,
    /// What OpenTelemetry's conventions call the store.
    pub(crate) system: &'static str,
    pub(crate) operation: &'static str,
    /// The key, if the call concerns a single one.
    pub(crate) key: Option<&'a Key>,
    /// The number of keys, if the call is a batch.
    pub(crate) batch: Option<usize>,
}

impl Call<'_> {
    /// Creates the span of the call, which begins now.
    pub(crate) fn span(self) -> Span {
        let span = tracing::debug_span!(
            target: "cache::store",
            "cache.store",
            otel.kind = "client",
            otel.name = self.operation,
            otel.status_code = Empty,
            cache.name = self.cache,
            cache.key = Empty,
            db.system.name = self.system,
            db.operation.name = self.operation,
            // The conventions have it for two or more.
            db.operation.batch.size = self.batch.filter(|size| *size > 1).and_then(count),
            error.type = Empty,
        );
        if let Some(key) = self.key {
            record_key(&span, key);
        }
        span
    }
}

/// Records how a call ended.
pub(crate) fn record<R>(span: &Span, result: &Result<R, Error>) {
    if let Err(error) = result {
        span.record("error.type", error.kind().as_str());
        span.record("otel.status_code", "ERROR");
    }
}

/// Records that the caller gave up the call.
pub(crate) fn record_cancelled(span: &Span) {
    span.record("error.type", "cancelled");
}
