//! How the store measures lifetimes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_core::{Clock, Ttl};
use parking_lot::Mutex;

/// A moment, in milliseconds from one that does not matter.
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

/// The moment from which on a record is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

impl Deadline {
    const NEVER: Self = Self(u64::MAX);

    pub(crate) fn after(ttl: Ttl, now: Moment) -> Self {
        ttl.as_millis()
            .map_or(Self::NEVER, |ttl| Self(now.0.saturating_add(ttl)))
    }

    /// Returns the deadline as a moment, or `None` if the record has no end.
    pub(crate) fn moment(self) -> Option<Moment> {
        (self != Self::NEVER).then_some(Moment(self.0))
    }

    pub(crate) fn is_past(self, now: Moment) -> bool {
        self != Self::NEVER && self.0 <= now.0
    }

    /// Returns what is left at `now`, or `None` if that is nothing.
    pub(crate) fn left(self, now: Moment) -> Option<Duration> {
        match self.0.saturating_sub(now.0) {
            0 => None,
            left => Some(Duration::from_millis(left)),
        }
    }
}

/// Tells the time as it passes: by the machine's monotonic clock, or by a clock that was handed in.
pub(crate) enum Timer {
    Monotonic(Instant),
    Injected(Arc<dyn Clock>, Mutex<Ratchet>),
}

/// A step back of an injected clock by up to this many milliseconds is followed. It makes no difference to a lifetime,
/// and tests may set a clock to the milliseconds around a deadline in any order.
const FOLLOWED: u64 = 100;

/// Counts the steps back of a clock as no time, and what follows them as time that passes.
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
                // Read at every hit, so without the division of 128 bits that `as_millis` takes.
                Moment(passed.as_secs() * 1_000 + u64::from(passed.subsec_millis()))
            }
            Self::Injected(clock, ratchet) => {
                let mut ratchet = ratchet.lock();
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
