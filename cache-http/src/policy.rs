//! What a cache may store and share, as plain data.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::cache_control::{CDN_CACHE_CONTROL, ResponseDirectives, applicable_directives};

/// What a cache stores and shares, and the defaults for responses that state nothing.
///
/// Start from [`route`](Self::route) or [`shared`](Self::shared) and change single fields. Each refusal has a field that
/// lifts it.
///
/// ```
/// use std::time::Duration;
/// use cache_http::{Policy, Sharing};
///
/// let mut policy = Policy::route();
/// policy.default_ttl = Some(Duration::from_secs(60));
/// // This route gives everybody the same answer, whatever cookies they send.
/// policy.cookie = Sharing::Always;
/// ```
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Policy {
    /// The methods whose requests are looked up. HEAD is answered from the stored response to GET. Add POST or QUERY only
    /// if the key covers the content of the request.
    pub methods: Vec<Method>,
    /// The status codes to store.
    pub statuses: Statuses,
    /// Whether to share responses to requests with `Authorization`.
    pub authorization: Sharing,
    /// Whether to share responses to requests with `Cookie`.
    pub cookie: Sharing,
    /// Whether to share responses with `Set-Cookie`.
    pub set_cookie: Sharing,
    /// Whether to store a response that is `private` as a whole.
    pub allow_private: bool,
    /// Whether to store a response although it, or an honoured request, says `no-store`.
    pub allow_no_store: bool,
    /// Whether to store a response that can only be used after validation: `no-cache`, or stale with a validator.
    pub allow_no_cache: bool,
    /// Whether to store a response with `Vary: *`, and ignore that member.
    pub allow_vary_any: bool,
    /// Whether to store 206 (Partial Content). Only for caches that mark and combine partial bodies.
    pub allow_partial: bool,
    /// Whether to use a stale response with `s-maxage` within a window that the response itself states (RFC 5861). RFC
    /// 9111, section 5.2.2.10, forbids this, and much of the web relies on it.
    pub allow_stale_s_maxage: bool,
    /// Whether to honour the `Cache-Control` of requests.
    pub request_directives: bool,
    /// How long a response is fresh that states no lifetime.
    pub default_ttl: Option<Duration>,
    /// How long a response may be used stale while it is revalidated, if it states no window.
    pub stale_while_revalidate: Option<Duration>,
    /// How long a response may be used stale if the origin fails, if it states no window.
    pub stale_if_error: Option<Duration>,
    /// How long a response may be used stale if the origin cannot be reached. RFC 9111, section 4.2.4, allows this for
    /// every response that does not forbid it.
    pub stale_if_disconnected: Option<Duration>,
    /// How long to keep a response with a validator after its other windows, so that the origin can validate it (RFC 9111,
    /// section 4.3).
    pub keep_for_validation: Duration,
    /// How to derive a lifetime from `Last-Modified` if nothing else states one.
    pub heuristic: Option<Heuristic>,
    /// The targeted fields that this cache obeys, most applicable first (RFC 9213).
    pub targets: Vec<HeaderName>,
}

impl Policy {
    /// Creates a policy for a cache in front of an application's own routes. It refuses every response that could be for one
    /// user.
    ///
    /// It stores responses to GET and HEAD with 2xx except 206. It refuses `Authorization`, `Cookie`, `Set-Cookie`,
    /// `private`, `no-store`, `no-cache` and `Vary: *`. The lifetime is the response's own, or else
    /// [`default_ttl`](Self::default_ttl), which you set per route.
    #[must_use]
    pub fn route() -> Self {
        Self {
            methods: vec![Method::GET, Method::HEAD],
            statuses: Statuses::Success,
            authorization: Sharing::Never,
            cookie: Sharing::Never,
            set_cookie: Sharing::Never,
            allow_private: false,
            allow_no_store: false,
            allow_no_cache: false,
            allow_vary_any: false,
            allow_partial: false,
            allow_stale_s_maxage: false,
            request_directives: true,
            default_ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            stale_if_disconnected: None,
            keep_for_validation: Duration::ZERO,
            heuristic: None,
            targets: Vec::new(),
        }
    }

    /// Creates the policy of a shared cache by RFC 9111, for gateways and reverse proxies.
    ///
    /// It stores any final status, treats `Authorization` as section 3.5 requires, and ignores cookies as the standard does.
    /// It applies the heuristics of section 4.2.2, and prefers `CDN-Cache-Control` to `Cache-Control`. It keeps stale
    /// responses for a day, to validate them and to use them if the origin cannot be reached.
    #[must_use]
    pub fn shared() -> Self {
        Self {
            statuses: Statuses::Final,
            authorization: Sharing::Explicit,
            cookie: Sharing::Always,
            set_cookie: Sharing::Always,
            allow_no_cache: true,
            stale_if_disconnected: Some(DAY),
            keep_for_validation: DAY,
            heuristic: Some(Heuristic::default()),
            targets: vec![CDN_CACHE_CONTROL],
            ..Self::route()
        }
    }

    /// Returns the directives of a response that apply to this cache: those of the first valid field in
    /// [`targets`](Self::targets), or else those of `Cache-Control`.
    #[must_use]
    pub fn directives(&self, headers: &HeaderMap) -> ResponseDirectives {
        applicable_directives(&self.targets, headers).directives
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether to share responses that carry credentials or answer requests that do.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Never share them.
    Never,
    /// Share them if the response says so: by `public` or `s-maxage`, and for `Authorization` also by `must-revalidate`
    /// (RFC 9111, section 3.5).
    Explicit,
    /// Always share them. They must be the same for everyone, or the key must distinguish them.
    Always,
}

/// A predicate on status codes.
type StatusPredicate = Arc<dyn Fn(StatusCode) -> bool + Send + Sync>;

/// Which status codes to store. 1xx and 304 are never stored, and 206 only with
/// [`allow_partial`](Policy::allow_partial).
#[non_exhaustive]
#[derive(Clone)]
pub enum Statuses {
    /// 2xx.
    Success,
    /// Any final status (RFC 9111, section 3). [`default_ttl`](Policy::default_ttl) applies only to those that are
    /// heuristically cacheable.
    Final,
    /// Those that the predicate accepts.
    Predicate(StatusPredicate),
}

impl Statuses {
    /// Selects the status codes that `predicate` accepts.
    #[must_use]
    pub fn predicate(predicate: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        Self::Predicate(Arc::new(predicate))
    }

    pub(crate) fn take(&self, status: StatusCode) -> bool {
        match self {
            Self::Success => status.is_success(),
            Self::Final => !status.is_informational(),
            Self::Predicate(predicate) => predicate(status),
        }
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "Success",
            Self::Final => "Final",
            Self::Predicate(_) => "Predicate(..)",
        })
    }
}

/// How to derive a lifetime from `Last-Modified`: a share of the time since the last change (RFC 9111, section 4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heuristic {
    /// The share, in percent.
    pub percent: u32,
    /// The longest lifetime.
    pub max: Duration,
}

impl Default for Heuristic {
    /// Returns ten percent, and at most a day.
    fn default() -> Self {
        Self { percent: 10, max: DAY }
    }
}

/// Returns whether a response with this status is cacheable without freshness information (RFC 9110, section 15.1).
#[must_use]
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}
