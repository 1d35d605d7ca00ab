//! The measurement of lifetimes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_core::{Clock, Ttl};

use crate::clock;

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
    Monotonic,
    Injected(Arc<dyn Clock>, Mutex<Ratchet>),
}

/// A time to measure lifetimes by: that of the machine, which is read when it is needed, or what the user's clock said,
/// which is read once and without a lock.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Glance {
    Machine,
    At(Moment),
}

impl Glance {
    fn now(self) -> Moment {
        match self {
            Self::Machine => Moment(clock::now()),
            Self::At(moment) => moment,
        }
    }

    /// Returns a moment that may be some milliseconds past.
    fn lately(self) -> Moment {
        match self {
            Self::Machine => Moment(clock::lately()),
            Self::At(moment) => moment,
        }
    }

    /// Returns what is left until `deadline`, or `None` if a record with it does not expire.
    pub(crate) fn lifetime(self, deadline: Deadline) -> Option<Lifetime> {
        let end = deadline.moment()?;
        Some(Lifetime {
            glance: self,
            deadline,
            at_most: end.0.saturating_sub(self.lately().0),
        })
    }
}

/// What is left of a record's lifetime, measured only as exactly as the question requires.
pub(crate) struct Lifetime {
    glance: Glance,
    deadline: Deadline,
    at_most: u64,
}

/// The part of a lifetime, in milliseconds, that a glance at the clock does not measure well enough: a glance is late by up
/// to some ten milliseconds, and by as long as the machine stood still.
const CLOSE: u64 = 1_000;

impl Lifetime {
    /// Returns whether more than `time` is left.
    pub(crate) fn outlives(&self, time: Duration) -> bool {
        Duration::from_millis(self.at_most.saturating_sub(CLOSE)) > time
            || self.deadline.left(self.glance.now()).is_some_and(|left| left > time)
    }
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
    pub(crate) fn injected(clock: Arc<dyn Clock>) -> Self {
        Self::Injected(clock, Mutex::default())
    }

    pub(crate) fn now(&self) -> Moment {
        match self {
            Self::Monotonic => Moment(clock::now()),
            Self::Injected(clock, ratchet) => {
                let mut ratchet = ratchet.lock().unwrap_or_else(PoisonError::into_inner);
                ratchet.count(clock.now().as_millis())
            }
        }
    }

    pub(crate) fn glance(&self) -> Glance {
        match self {
            Self::Monotonic => Glance::Machine,
            Self::Injected(..) => Glance::At(self.now()),
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Monotonic => f.write_str("Monotonic"),
            Self::Injected(clock, _) => f.debug_tuple("Injected").field(clock).finish(),
        }
    }
}
