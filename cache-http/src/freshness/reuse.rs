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
    /// As it is: it is fresh enough.
    Fresh,
    /// As it is, though stale: the request allows it (`max-stale`).
    Stale,
    /// As it is, though stale, and it is revalidated meanwhile (RFC 5861, section 3).
    WhileRevalidate,
    /// After the origin validated it. If the origin fails, see [`Lifetime::usable_on_error`].
    Validate {
        /// Whether it is the request that asks for it, of a response that is fresh in itself or may be used stale.
        requested: bool,
    },
    /// Not at all: it would have to be validated, and the request forbids to ask the origin (`only-if-cached`). The
    /// answer is 504 (RFC 9111, section 5.2.1.7).
    Unavailable,
}

impl Lifetime {
    /// How it may be used for a request with these directives. To ignore a request's directives, pass the default.
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
        // What it would be for a request without directives decides whose wish a validation is.
        let usable_in_itself = is_fresh || window.is_some_and(within);
        let validate = Reuse::Validate {
            requested: usable_in_itself,
        };

        // `max-age=0` asks for validation even of what arrived in this very millisecond.
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
        // Whoever names an age or a freshness does not wish a stale response (RFC 9111, section 5.2.1.1).
        let wants_fresh = request.max_age.is_some() || request.min_fresh.is_some();
        if !wants_fresh && window.is_some_and(within) {
            return Reuse::WhileRevalidate;
        }
        validate
    }

    /// Whether it may be used when the origin was asked and failed (RFC 5861, section 4): its own window, the
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

    /// Whether it may be used when the origin could not be reached at all, so that the cache is disconnected (RFC 9111,
    /// section 4.2.4): as [`usable_on_error`](Self::usable_on_error) has it, or within `limit`, the policy's
    /// [`stale_if_disconnected`](Policy::stale_if_disconnected), if nothing forbids it.
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
    // The largest number stands for "however much".
    if seconds >= MAX_SECONDS {
        Duration::MAX
    } else {
        Duration::from_secs(seconds.into())
    }
}
