//! What an operator asks for with a request.

use http::HeaderName;
use http::request::Parts;

use crate::request::shared::Shared;

/// The request field with which operators ask for an explanation, or for a call of the handler; see
/// [`CacheLayer::debug_if`](crate::CacheLayer::debug_if).
pub const CACHE_DEBUG: HeaderName = HeaderName::from_static("cache-debug");

/// What an operator asks for with a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Debug {
    /// Whether the request goes past all caches.
    pub(crate) bypass: bool,
    /// Whether the response explains how it came about.
    pub(crate) explain: bool,
}

impl Debug {
    /// Returns what a request asks for. Only a request that is allowed to asks for anything.
    pub(crate) fn of(shared: &Shared, request: &Parts) -> Self {
        let mut asked = Self::default();
        for line in request.headers.get_all(CACHE_DEBUG) {
            for word in line.to_str().unwrap_or_default().split(',') {
                match word.trim() {
                    word if word.eq_ignore_ascii_case("bypass") => asked.bypass = true,
                    word if word.eq_ignore_ascii_case("explain") => asked.explain = true,
                    _ => {}
                }
            }
        }
        if asked == Self::default() || !shared.config.debug_if.matches(request) {
            return Self::default();
        }
        asked
    }
}
