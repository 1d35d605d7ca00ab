//! `Cache-Control` of requests.

use http::HeaderMap;
use http::header::CACHE_CONTROL;

use crate::cache_control::directive::{Directive, smaller};
use crate::cache_control::member::{Argument, members};
use crate::field::MAX_SECONDS;

/// The `Cache-Control` of a request (RFC 9111, section 5.2.1). Times are in seconds.
///
/// ```
/// use cache_http::RequestDirectives;
///
/// let directives = RequestDirectives::parse(["max-age=60, Max-Stale", "max-age=10"]);
/// assert_eq!(directives.max_age, Some(10));
/// assert_eq!(directives.max_stale, Some(cache_http::MAX_SECONDS));
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// The greatest age that the client accepts. An unreadable value counts as zero.
    pub max_age: Option<u32>,
    /// The greatest staleness that the client accepts; [`MAX_SECONDS`] if the directive has no argument. An unreadable
    /// value is ignored.
    pub max_stale: Option<u32>,
    /// The least remaining freshness that the client accepts. An unreadable value counts as [`MAX_SECONDS`].
    pub min_fresh: Option<u32>,
    /// The client accepts a stored response only after successful validation.
    pub no_cache: bool,
    /// The cache must store neither this request nor its response.
    pub no_store: bool,
    /// The content must not be transformed.
    pub no_transform: bool,
    /// The client accepts only a stored response, and 504 if there is none.
    pub only_if_cached: bool,
    /// The greatest staleness that the client accepts if the origin fails (RFC 5861, section 4). An unreadable value is
    /// ignored.
    pub stale_if_error: Option<u32>,
    /// All other directives.
    pub others: Vec<Directive>,
}

impl RequestDirectives {
    /// Parses the `Cache-Control` of a request with these headers.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::parse(headers.get_all(CACHE_CONTROL))
    }

    /// Parses field lines.
    pub fn parse<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Self {
        let mut directives = Self::default();
        for line in lines {
            for member in members(line.as_ref()) {
                let seconds = member.seconds();
                if member.is("max-age") {
                    smaller(&mut directives.max_age, seconds.unwrap_or(0));
                } else if member.is("max-stale") {
                    let seconds = match member.argument {
                        Argument::None => Some(MAX_SECONDS),
                        _ => seconds,
                    };
                    if let Some(seconds) = seconds {
                        smaller(&mut directives.max_stale, seconds);
                    }
                } else if member.is("min-fresh") {
                    let seconds = seconds.unwrap_or(MAX_SECONDS);
                    directives.min_fresh = Some(directives.min_fresh.map_or(seconds, |other| other.max(seconds)));
                } else if member.is("no-cache") {
                    directives.no_cache = true;
                } else if member.is("no-store") {
                    directives.no_store = true;
                } else if member.is("no-transform") {
                    directives.no_transform = true;
                } else if member.is("only-if-cached") {
                    directives.only_if_cached = true;
                } else if member.is("stale-if-error") {
                    if let Some(seconds) = seconds {
                        smaller(&mut directives.stale_if_error, seconds);
                    }
                } else {
                    directives.others.push(member.to_directive());
                }
            }
        }
        directives
    }
}
