//! The measurement of lifetimes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cache_core::{Clock, Ttl};

/// A moment, in milliseconds from an arbitrary origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub(crate) const fn as_millis(self) -> u64 {
        self.0
    }
}

/// The moment from which a record counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

impl Deadline {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn after(ttl: Ttl, now: Moment) -> Self {
        ttl.as_millis()
            .map_or(Self::NEVER, |ttl| Self(now.0.saturating_add(ttl)))
    }

    /// Returns the deadline as a moment, or `None` if the record does not expire.
    pub(crate) fn moment(self) -> Option<Moment> {
        (self != Self::NEVER).then_some(Moment(self.0))
    }

    pub(crate) fn is_past(self, now: Moment) -> bool {
        self != Self::NEVER && self.0 <= now.0
    }

    /// Returns the time left at `now`, or `None` if the deadline has passed.
    pub(crate) fn left(self, now: Moment) -> Option<Duration> {
        match self.0.saturating_sub(now.0) {
            0 => None,
            left => Some(Duration::from_millis(left)),
        }
    }
}

/// A source of moments that never go back: the machine's monotonic clock, or a clock that the user set.
pub(crate) enum Timer {
    Monotonic(Instant),
    Injected(Arc<dyn Clock>, Mutex<Ratchet>),
}

/// A user's clock may step back by up to this many milliseconds. Lifetimes do not suffer from that, and tests may set
/// the clock to the milliseconds around a deadline in any order.
const FOLLOWED: u64 = 100;

/// Ignores larger steps back of a clock, and goes on from there.
#[derive(Debug, Default)]
pub(crate) struct Ratchet {
    latest: u64,
    ahead: u64,
}

impl Ratchet {
    fn count(&mut self, reading: u64) -> Moment {
        let back = self.latest.saturating_sub(reading);
        if back > FOLLOWED {
            self.ahead = self.ahead.saturating_add(back);
            self.latest = reading;
        }
        self.latest = self.latest.max(reading);
        Moment(reading.saturating_add(self.ahead))
    }
}

impl Timer {
    pub(crate) fn monotonic() -> Self {
        Self::Monotonic(Instant::now())
    }

    pub(crate) fn injected(clock: Arc<dyn Clock>) -> Self {
        Self::Injected(clock, Mutex::default())
    }

    pub(crate) fn now(&self) -> Moment {
        match self {
            Self::Monotonic(start) => {
                let passed = start.elapsed();
                // Runs at every hit, so it avoids the 128-bit division of `as_millis`.
                Moment(passed.as_secs() * 1_000 + u64::from(passed.subsec_millis()))
            }
            Self::Injected(clock, ratchet) => {
                let mut ratchet = ratchet.lock().unwrap_or_else(PoisonError::into_inner);
                ratchet.count(clock.now().as_millis())
            }
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Monotonic(start) => f.debug_tuple("Monotonic").field(start).finish(),
            Self::Injected(clock, _) => f.debug_tuple("Injected").field(clock).finish(),
        }
    }
}
