//! `Cache-Status`: how a cache handled a request (RFC 9211).

use std::fmt::{self, Write};
use std::time::Duration;

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::TokenRef;

/// The name of the field.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The largest number that a structured field can hold.
const MAX_INTEGER: i64 = 999_999_999_999_999;

/// The largest Decimal with one digit after the point (RFC 9651, section 3.3.2).
const MAX_TENTHS: u128 = 9_999_999_999_999;

/// Why a request was forwarded (RFC 9211, section 2.2).
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The cache is configured not to handle the request.
    Bypass,
    /// The semantics of the method require it.
    Method,
    /// Nothing was stored for the URI.
    UriMiss,
    /// Something was stored for the URI, but not for the fields that `Vary` names.
    VaryMiss,
    /// The cache had nothing that it could use, and does not know whether something was stored for the URI: its store did
    /// not answer, for example.
    Miss,
    /// The stored response is fresh, but the request's directives ask for validation.
    Request,
    /// The stored response is stale.
    Stale,
    /// The stored response is only a part of what the request asks for.
    Partial,
}

impl Forward {
    /// Returns the reason as a token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// The name of a cache in `Cache-Status`, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheName(String);

impl CacheName {
    /// Creates a name, written as a token if it is one and otherwise as a string. Leaves out characters that neither can
    /// hold.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(token_or_string(name))
    }
}

impl fmt::Display for CacheName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One member of `Cache-Status`.
///
/// ```
/// use cache_http::{CacheName, CacheStatus, Forward};
///
/// let name = CacheName::new("orders");
/// assert_eq!(CacheStatus::hit().ttl(37).to_value(&name), "orders; hit; ttl=37");
/// let miss = CacheStatus::forwarded(Forward::UriMiss).stored(false).detail("set-cookie");
/// assert_eq!(miss.to_value(&name), "orders; fwd=uri-miss; detail=set-cookie");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct CacheStatus {
    hit: bool,
    forward: Option<Forward>,
    forward_status: Option<u16>,
    ttl: Option<i64>,
    stored: bool,
    collapsed: bool,
    key: Option<String>,
    detail: Option<String>,
}

impl CacheStatus {
    /// Creates the member of a request that was answered from the cache.
    pub fn hit() -> Self {
        Self {
            hit: true,
            ..Self::default()
        }
    }

    /// Creates the member of a request that was forwarded to the origin.
    pub fn forwarded(reason: Forward) -> Self {
        Self {
            forward: Some(reason),
            ..Self::default()
        }
    }

    /// Creates the member of an answer that the cache generated itself: neither a hit nor forwarded.
    pub fn generated() -> Self {
        Self::default()
    }

    /// Sets the status of the forwarded response, if the answer has another one. Ignored for a request that was not
    /// forwarded.
    pub fn forward_status(mut self, status: u16) -> Self {
        self.forward_status = self.forward.map(|_| status);
        self
    }

    /// Sets the remaining freshness in seconds, negative if stale.
    pub fn ttl(mut self, seconds: i64) -> Self {
        self.ttl = Some(seconds.clamp(-MAX_INTEGER, MAX_INTEGER));
        self
    }

    /// Sets whether the forwarded response was stored. Ignored for a request that was not forwarded.
    pub fn stored(mut self, stored: bool) -> Self {
        self.stored = stored && self.forward.is_some();
        self
    }

    /// Sets whether the request was collapsed with another. Ignored for a request that was not forwarded.
    pub fn collapsed(mut self, collapsed: bool) -> Self {
        self.collapsed = collapsed && self.forward.is_some();
        self
    }

    /// Sets the cache key, for debugging. Leaves out characters that a structured field cannot hold.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the detail, for debugging. Leaves out characters that a structured field cannot hold.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Returns the member as a field value.
    #[must_use]
    pub fn to_value(&self, cache: &CacheName) -> HeaderValue {
        let mut text = String::with_capacity(64);
        text.push_str(&cache.0);
        if self.hit {
            text.push_str("; hit");
        }
        if let Some(forward) = self.forward {
            text.push_str("; fwd=");
            text.push_str(forward.as_str());
        }
        // Writing to a string cannot fail.
        if let Some(status) = self.forward_status {
            let _ = write!(text, "; fwd-status={status}");
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={ttl}");
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(key) = &self.key {
            text.push_str("; key=");
            text.push_str(&string(key));
        }
        if let Some(detail) = &self.detail {
            text.push_str("; detail=");
            text.push_str(&token_or_string(detail));
        }
        // Tokens, numbers and strings of printable ASCII are always a valid value.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("cache"))
    }

    /// Appends the member to the `Cache-Status` of a response, after those of caches nearer to the origin (RFC 9211,
    /// section 2).
    pub fn append_to(&self, cache: &CacheName, headers: &mut HeaderMap) {
        headers.append(CACHE_STATUS, self.to_value(cache));
    }
}

/// Further parameters for a member of `Cache-Status`, in the order in which they are added. For debugging: RFC 9211,
/// section 2, lets caches add parameters of their own.
///
/// Names have to be keys of structured fields: lower-case letters, digits, `_`, `-`, `.` and `*`, beginning with a letter
/// or `*`. A parameter with another name is left out.
///
/// ```
/// use std::time::Duration;
/// use cache_http::{CACHE_STATUS, CacheName, CacheStatus, StatusParameters};
/// use http::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// CacheStatus::hit().append_to(&CacheName::new("shop"), &mut headers);
/// StatusParameters::new()
///     .string("key", "GET /items")
///     .token("tier", "near")
///     .seconds("age", Duration::from_millis(5_300))
///     .add_to_last(&mut headers);
/// assert_eq!(headers[CACHE_STATUS], r#"shop; hit; key="GET /items"; tier=near; age=5.3"#);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct StatusParameters(String);

impl StatusParameters {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text in quotes. Leaves out characters that a structured field cannot hold.
    pub fn string(self, name: &str, value: &str) -> Self {
        self.with(name, &string(value))
    }

    /// Adds a word without quotes, or a text in quotes if it is none.
    pub fn token(self, name: &str, value: &str) -> Self {
        self.with(name, &token_or_string(value))
    }

    /// Adds a number, cut to what a structured field can hold.
    pub fn integer(self, name: &str, value: i64) -> Self {
        self.with(name, &value.clamp(-MAX_INTEGER, MAX_INTEGER).to_string())
    }

    /// Adds a time in seconds, in tenths, and at most as long as a structured field can hold.
    pub fn seconds(self, name: &str, value: Duration) -> Self {
        let tenths = (value.as_millis() / 100).min(MAX_TENTHS);
        self.with(name, &format!("{}.{}", tenths / 10, tenths % 10))
    }

    /// Adds a parameter whose presence says it all.
    pub fn flag(mut self, name: &str) -> Self {
        if is_parameter(name) {
            self.0.push_str("; ");
            self.0.push_str(name);
        }
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        if is_parameter(name) {
            self = self.flag(name);
            self.0.push('=');
            self.0.push_str(value);
        }
        self
    }

    /// Adds the parameters to the last member of `Cache-Status`, which is that of the cache nearest to the client. Without
    /// such a field, nothing is added.
    pub fn add_to_last(&self, headers: &mut HeaderMap) {
        if let Entry::Occupied(mut lines) = headers.entry(CACHE_STATUS)
            && let Some(last) = lines.iter_mut().next_back()
            && let Ok(more) = HeaderValue::from_bytes(&[last.as_bytes(), self.0.as_bytes()].concat())
        {
            *last = more;
        }
    }
}

fn is_parameter(name: &str) -> bool {
    sfv::KeyRef::from_str(name).is_ok()
}

fn token_or_string(text: &str) -> String {
    match TokenRef::from_str(text) {
        Ok(token) => token.as_str().to_owned(),
        Err(_) => string(text),
    }
}

/// A structured String: printable ASCII in quotes.
fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars().filter(|char| matches!(char, ' '..='~')) {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}
