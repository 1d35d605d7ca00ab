//! What a cache may do, as plain data.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::cache_control::{CDN_CACHE_CONTROL, ResponseDirectives, applicable_directives};

/// What a cache stores and shares, and what it falls back to where a response says nothing.
///
/// Start from [`route`](Self::route) or [`shared`](Self::shared) and change single fields; each refusal can be lifted
/// by name.
///
/// ```
/// use std::time::Duration;
/// use cache_http::{Policy, Sharing};
///
/// let mut policy = Policy::route();
/// policy.default_ttl = Some(Duration::from_secs(60));
/// // This route answers everybody alike, whatever cookies they send.
/// policy.cookie = Sharing::Always;
/// ```
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Policy {
    /// The methods whose requests look into the cache. HEAD is answered from what GET stored. Naming POST is right
    /// only where the key covers the request's content.
    pub methods: Vec<Method>,
    /// The status codes that may be stored.
    pub statuses: Statuses,
    /// Answers to requests with `Authorization`.
    pub authorization: Sharing,
    /// Answers to requests with `Cookie`.
    pub cookie: Sharing,
    /// Answers with `Set-Cookie`.
    pub set_cookie: Sharing,
    /// Store although the response is `private` as a whole.
    pub allow_private: bool,
    /// Store although the response, or an honoured request, says `no-store`.
    pub allow_no_store: bool,
    /// Store what can only be used after validation by the origin: `no-cache`, or not fresh but with a validator.
    pub allow_no_cache: bool,
    /// Store although the response says `Vary: *`, as if that member were not there.
    pub allow_vary_any: bool,
    /// Store 206 (Partial Content). Only for caches that combine and mark partial bodies.
    pub allow_partial: bool,
    /// Use stale although `s-maxage` is there, where the response itself gives a window (RFC 5861). RFC 9111, section
    /// 5.2.2.10, forbids it, and much of the web relies on it.
    pub allow_stale_s_maxage: bool,
    /// Honour the `Cache-Control` of requests.
    pub request_directives: bool,
    /// How long a response is fresh that says nothing of it.
    pub default_ttl: Option<Duration>,
    /// How long a response may be used stale while it is revalidated, where it says nothing of it.
    pub stale_while_revalidate: Option<Duration>,
    /// How long a response may be used stale when the origin fails, where it says nothing of it.
    pub stale_if_error: Option<Duration>,
    /// How long a response may be used stale when the origin cannot be reached at all, which RFC 9111, section 4.2.4,
    /// allows without a word of the response, unless that forbids it.
    pub stale_if_disconnected: Option<Duration>,
    /// For how long a response with a validator is kept when nothing else allows to use it any more, so that the origin
    /// can be asked whether it is still right (RFC 9111, section 4.3).
    pub keep_for_validation: Duration,
    /// How to guess a lifetime from `Last-Modified` where nothing else gives one.
    pub heuristic: Option<Heuristic>,
    /// The targeted fields that this cache obeys, most applicable first (RFC 9213).
    pub targets: Vec<HeaderName>,
}

impl Policy {
    /// For a cache in front of an application's own routes: what could be meant for one user only is refused.
    ///
    /// GET and HEAD; 2xx but 206; nothing with `Authorization`, `Cookie` or `Set-Cookie`, nothing `private`,
    /// `no-store`, `no-cache` or `Vary: *`. The lifetime is the response's, or else
    /// [`default_ttl`](Self::default_ttl), which is for the route to set.
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

    /// A shared cache by the book (RFC 9111), for gateways and reverse proxies.
    ///
    /// Any final status that may be stored; `Authorization` as section 3.5 has it; cookies as the standard has them,
    /// which is to ignore them; heuristics of section 4.2.2; `CDN-Cache-Control` before `Cache-Control`. Stale responses
    /// are kept for a day to be validated, and to be used if the origin cannot be reached.
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

    /// The directives of a response that apply to this cache: those of the first valid field in
    /// [`targets`](Self::targets), or else those of `Cache-Control`.
    #[must_use]
    pub fn directives(&self, headers: &HeaderMap) -> ResponseDirectives {
        applicable_directives(&self.targets, headers).directives
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether answers that carry or answer to credentials are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Never.
    Never,
    /// If the response says so: by `public` or `s-maxage`, and for `Authorization` by `must-revalidate` too (RFC 9111,
    /// section 3.5).
    Explicit,
    /// Always. They must be the same for everyone, or the key must tell them apart.
    Always,
}

/// A decision on status codes.
type StatusPredicate = Arc<dyn Fn(StatusCode) -> bool + Send + Sync>;

/// Which status codes may be stored. 1xx and 304 never are, and 206 only with
/// [`allow_partial`](Policy::allow_partial).
#[derive(Clone)]
pub enum Statuses {
    /// 2xx.
    Success,
    /// Any final one, as RFC 9111, section 3, has it. [`default_ttl`](Policy::default_ttl) is only for those that are
    /// cacheable by default.
    Final,
    /// Those that the predicate takes.
    Predicate(StatusPredicate),
}

impl Statuses {
    /// Those that `predicate` takes.
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

/// How a lifetime is guessed: as a part of the time for which the resource had not changed (RFC 9111, section 4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heuristic {
    /// The part, in percent.
    pub percent: u32,
    /// The longest guess.
    pub max: Duration,
}

impl Default for Heuristic {
    /// A tenth, and a day at most.
    fn default() -> Self {
        Self { percent: 10, max: DAY }
    }
}

/// Whether a status is cacheable without any freshness information (RFC 9110, section 15.1).
#[must_use]
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}
