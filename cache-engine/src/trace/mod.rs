//! The spans of a cache, for `tracing` and, through it, for OpenTelemetry.
//!
//! A span in which the user's code runs is at level info, so that what that code logs has its context. All others are at
//! level debug. [`crate`] lists them.

pub(crate) mod call;
pub(crate) mod load;
pub(crate) mod task;

use cache_core::Key;
use tracing::{Level, Span};

/// The longest text that is recorded of a key or a name, in bytes.
const LONGEST: usize = 256;

/// Returns the beginning of a text that may be of any length.
fn clipped(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns a number as attributes have it.
fn count(number: usize) -> Option<i64> {
    i64::try_from(number).ok()
}

/// Records the key of what a span is about, if that is asked for.
fn record_key(span: &Span, key: &Key) {
    if !span.is_disabled() && tracing::enabled!(target: "cache::key", Level::TRACE) {
        span.record("cache.key", clipped(key.as_str()));
    }
}
