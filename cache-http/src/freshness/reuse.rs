//! How a stored response may be used for a request (RFC 9111, section 4.2.4; RFC 5861).

use std::time::Duration;

use cache_core::Timestamp;

use crate::cache_control::RequestDirectives;
use crate::field::MAX_SECONDS;
use crate::freshness::lifetime::Lifetime;

/// How a stored response may be used for a request.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Use it: it is fresh enough.
    Fresh,
    /// Use it although it is stale: the request allows this (`max-stale`).
    Stale,
    /// Use it although it is stale, and revalidate it meanwhile (RFC 5861, section 3).
    WhileRevalidate,
    /// Use it after the origin has validated it. If the origin fails, see [`Lifetime::usable_on_error`].
    Validate {
        /// Whether the request requires the validation. If `false`, the response itself does.
        requested: bool,
    },
    /// Answer 504: the response needs validation, and the request forbids asking the origin (`only-if-cached`; RFC 9111,
    /// section 5.2.1.7).
    Unavailable,
}

impl Lifetime {
    /// Returns how the response may be used for a request with these directives. To ignore the directives, pass the
    /// default.
    #[must_use]
    pub fn reuse(&self, request: &RequestDirectives, now: Timestamp) -> Reuse {
        match self.reuse_or_validate(request, now) {
            Reuse::Validate { .. } if request.only_if_cached => Reuse::Unavailable,
            reuse => reuse,
        }
    }

    fn reuse_or_validate(&self, request: &RequestDirectives, now: Timestamp) -> Reuse {
        if self.no_cache {
            return Reuse::Validate { requested: false };
        }
        let age = self.age(now);
        let stale_for = self.staleness(now);
        let is_fresh = self.is_fresh(now);
        let within = |window: Duration| !self.must_revalidate && stale_for <= window;
        let window = self.stale_while_revalidate;
        // Whether it could be used for a request without directives decides which side requires the validation.
        let usable_in_itself = is_fresh || window.is_some_and(within);
        let validate = Reuse::Validate {
            requested: usable_in_itself,
        };

        // `max-age=0` requires validation even of a response that arrived in this millisecond.
        let too_old = |limit: u32| limit == 0 || age > seconds(limit);
        if request.no_cache
            || request.max_age.is_some_and(too_old)
            || request
                .min_fresh
                .is_some_and(|least| self.fresh.saturating_sub(age) < seconds(least))
        {
            return validate;
        }
        if is_fresh {
            return Reuse::Fresh;
        }
        if request.max_stale.is_some_and(|limit| within(seconds(limit))) {
            return Reuse::Stale;
        }
        // A request that limits age or freshness does not accept a stale response (RFC 9111, section 5.2.1.1).
        let wants_fresh = request.max_age.is_some() || request.min_fresh.is_some();
        if !wants_fresh && window.is_some_and(within) {
            return Reuse::WhileRevalidate;
        }
        validate
    }

    /// Returns whether the response may be used after the origin failed (RFC 5861, section 4): its own window, the
    /// policy's or the request's allows it, and nothing forbids it.
    #[must_use]
    pub fn usable_on_error(&self, request: &RequestDirectives, now: Timestamp) -> bool {
        if self.no_cache || request.no_cache {
            return false;
        }
        if self.must_revalidate && !self.is_fresh(now) {
            return false;
        }
        let window = self.stale_if_error.max(request.stale_if_error.map(seconds));
        window.is_some_and(|window| self.staleness(now) <= window)
    }

    /// Returns whether the response may be used if the cache cannot reach the origin (RFC 9111, section 4.2.4): if
    /// [`usable_on_error`](Self::usable_on_error) allows it, or within `limit`, the policy's
    /// [`stale_if_disconnected`](crate::Policy::stale_if_disconnected), and nothing forbids it.
    #[must_use]
    pub fn usable_when_disconnected(
        &self,
        request: &RequestDirectives,
        limit: Option<Duration>,
        now: Timestamp,
    ) -> bool {
        let forbidden = self.no_cache || request.no_cache || self.must_revalidate && !self.is_fresh(now);
        self.usable_on_error(request, now) || !forbidden && limit.is_some_and(|limit| self.staleness(now) <= limit)
    }
}

fn seconds(seconds: u32) -> Duration {
    // The largest number means "without a limit".
    if seconds >= MAX_SECONDS {
        Duration::MAX
    } else {
        Duration::from_secs(seconds.into())
    }
}
