//! How long a stored response is fresh, and how old it is (RFC 9111, section 4.2).

use std::time::Duration;

use cache_core::Timestamp;
use http::header::{DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use crate::cache_control::{Applicable, applicable_directives};
use crate::field::{Single, age_value, date_of};
use crate::policy::{Policy, Statuses, is_heuristically_cacheable};

/// The source of a lifetime.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifetimeSource {
    /// `s-maxage`.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// [`Policy::default_ttl`].
    Policy,
    /// A heuristic from `Last-Modified`.
    Heuristic,
    /// The freshness information is unreadable or contradicts itself. The response counts as stale.
    Invalid,
    /// The response has no freshness information, and was never fresh.
    Nothing,
}

impl LifetimeSource {
    /// Returns whether the response itself states the lifetime.
    #[must_use]
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::SMaxage | Self::MaxAge | Self::Expires | Self::Invalid)
    }
}

/// The times of a stored response.
///
/// Compute it once, when you store or freshen the response. A hit then does not read the headers.
///
/// ```
/// use std::time::Duration;
/// use cache_core::Timestamp;
/// use cache_http::{Lifetime, Policy, RequestDirectives, Reuse};
/// use http::header::{CACHE_CONTROL, HeaderValue};
/// use http::{HeaderMap, StatusCode};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60, stale-while-revalidate=30"));
/// let stored = Timestamp::from_millis(1_700_000_000_000);
/// let lifetime = Lifetime::from_response(&Policy::route(), StatusCode::OK, &headers, stored, stored);
///
/// let anyone = RequestDirectives::default();
/// let after = |seconds| stored + Duration::from_secs(seconds);
/// assert_eq!(lifetime.reuse(&anyone, after(59)), Reuse::Fresh);
/// assert_eq!(lifetime.reuse(&anyone, after(89)), Reuse::WhileRevalidate);
/// assert!(matches!(lifetime.reuse(&anyone, after(91)), Reuse::Validate { .. }));
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// How long the response is fresh, counted from when the origin generated or validated it.
    pub fresh: Duration,
    /// The source of this lifetime.
    pub source: LifetimeSource,
    /// The age of the response when it arrived.
    pub initial_age: Duration,
    /// When the response arrived.
    pub response_time: Timestamp,
    /// Whether the response must be validated before each use (`no-cache`).
    pub no_cache: bool,
    /// Whether the response must not be used stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`).
    pub must_revalidate: bool,
    /// How long the response may be used stale while it is revalidated.
    pub stale_while_revalidate: Option<Duration>,
    /// How long the response may be used stale if the origin fails.
    pub stale_if_error: Option<Duration>,
}

impl Lifetime {
    /// Creates a lifetime of `fresh` from `response_time` on, without stale windows.
    #[must_use]
    pub fn new(fresh: Duration, response_time: Timestamp) -> Self {
        Self {
            fresh,
            source: LifetimeSource::Policy,
            initial_age: Duration::ZERO,
            response_time,
            no_cache: false,
            must_revalidate: false,
            stale_while_revalidate: None,
            stale_if_error: None,
        }
    }

    /// Computes the lifetime of a response with this status and these headers. `request_time` is when the request was
    /// sent to the origin, `response_time` when the response arrived. If the handler runs in this process, pass
    /// `response_time` for both.
    #[must_use]
    pub fn from_response(
        policy: &Policy,
        status: StatusCode,
        headers: &HeaderMap,
        request_time: Timestamp,
        response_time: Timestamp,
    ) -> Self {
        let applicable = applicable_directives(&policy.targets, headers);
        let date = date_of(headers, DATE).valid().unwrap_or(response_time);
        let (fresh, source) = freshness_lifetime(policy, status, headers, &applicable, date);

        // RFC 9111, section 4.2.3. Dates are whole seconds, so the apparent age is too.
        let apparent = Duration::from_secs((response_time.as_millis() / 1000).saturating_sub(date.as_millis() / 1000));
        let age_value = age_value(headers).unwrap_or_default();
        let corrected = age_value + response_time.saturating_since(request_time);

        let directives = &applicable.directives;
        let has_own_window = directives.stale_while_revalidate.is_some() || directives.stale_if_error.is_some();
        let s_maxage_forbids = directives.s_maxage.is_some() && !(policy.allow_stale_s_maxage && has_own_window);
        let window =
            |own: Option<u32>, default: Option<Duration>| own.map(|own| Duration::from_secs(own.into())).or(default);
        Self {
            fresh,
            source,
            initial_age: apparent.max(corrected),
            response_time,
            no_cache: directives.no_cache.is_whole(),
            must_revalidate: directives.must_revalidate || directives.proxy_revalidate || s_maxage_forbids,
            stale_while_revalidate: window(directives.stale_while_revalidate, policy.stale_while_revalidate),
            stale_if_error: window(directives.stale_if_error, policy.stale_if_error),
        }
    }

    /// Returns the age of the response (RFC 9111, section 4.2.3).
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        self.initial_age
            .saturating_add(now.saturating_since(self.response_time))
    }

    /// Returns whether the response is fresh (RFC 9111, section 4.2).
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.fresh > self.age(now)
    }

    /// Returns how long the response has been stale; zero while it is fresh.
    #[must_use]
    pub fn staleness(&self, now: Timestamp) -> Duration {
        self.age(now).saturating_sub(self.fresh)
    }

    /// Returns when the response becomes stale; `response_time` if it was never fresh.
    #[must_use]
    pub fn fresh_until(&self) -> Timestamp {
        self.response_time + self.fresh.saturating_sub(self.initial_age)
    }

    /// Returns the remaining freshness in whole seconds, negative if the response is stale: the `ttl` of `Cache-Status`.
    #[must_use]
    pub fn ttl_seconds(&self, now: Timestamp) -> i64 {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        millis(self.fresh)
            .saturating_sub(millis(self.age(now)))
            .div_euclid(1000)
    }

    /// Returns how long after its arrival the response can be used without validation, fresh or within a stale window.
    #[must_use]
    pub fn usable_for(&self) -> Duration {
        if self.no_cache {
            return Duration::ZERO;
        }
        let window = if self.must_revalidate {
            Duration::ZERO
        } else {
            self.stale_while_revalidate
                .unwrap_or_default()
                .max(self.stale_if_error.unwrap_or_default())
        };
        self.fresh.saturating_add(window).saturating_sub(self.initial_age)
    }
}

/// Applies RFC 9111, section 4.2.1, then the policy's lifetime, then section 4.2.2.
fn freshness_lifetime(
    policy: &Policy,
    status: StatusCode,
    headers: &HeaderMap,
    applicable: &Applicable,
    date: Timestamp,
) -> (Duration, LifetimeSource) {
    let directives = &applicable.directives;
    if let Some(seconds) = directives.s_maxage {
        return (Duration::from_secs(seconds.into()), LifetimeSource::SMaxage);
    }
    if let Some(seconds) = directives.max_age {
        return (Duration::from_secs(seconds.into()), LifetimeSource::MaxAge);
    }
    if !applicable.targeted {
        match date_of(headers, EXPIRES) {
            Single::Absent => {}
            Single::Invalid => return (Duration::ZERO, LifetimeSource::Invalid),
            Single::Is(expires) => return (expires.saturating_since(date), LifetimeSource::Expires),
        }
    }
    let cacheable = is_heuristically_cacheable(status) || directives.public;
    if let Some(ttl) = policy.default_ttl
        && (cacheable || !matches!(policy.statuses, Statuses::Final))
    {
        return (ttl, LifetimeSource::Policy);
    }
    if let Some(heuristic) = policy.heuristic
        && cacheable
        && let Some(modified) = date_of(headers, LAST_MODIFIED).valid()
    {
        let unchanged = date.saturating_since(modified);
        let guess = unchanged.saturating_mul(heuristic.percent) / 100;
        return (guess.min(heuristic.max), LifetimeSource::Heuristic);
    }
    (Duration::ZERO, LifetimeSource::Nothing)
}
