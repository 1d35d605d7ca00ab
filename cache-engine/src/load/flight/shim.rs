//! The lock of the flight map: the standard one, or the one that a model checker schedules.

#[cfg(not(shuttle))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(shuttle)]
pub(super) use shuttle::sync::{Mutex, MutexGuard};

/// A mistake that is made on purpose, to see that the model checker finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A leader that goes away wakes nobody.
    WakesNobody,
    /// A flight that was taken out of the map shares what it lands with.
    SharesDetached,
    /// A waiter that is given the lead does not take it, but leads beside another.
    LeadsBeside,
    /// The last one to leave forgets what a leader left behind.
    ForgetsFence,
}

impl Mistake {
    /// Whether it is made now.
    #[cfg(not(shuttle))]
    #[inline]
    pub(super) const fn is_made(self) -> bool {
        false
    }

    #[cfg(shuttle)]
    pub(super) fn is_made(self) -> bool {
        MADE.get() == Some(self)
    }
}

#[cfg(shuttle)]
thread_local! {
    /// All threads of one schedule run on one thread of the system.
    pub(super) static MADE: std::cell::Cell<Option<Mistake>> = const { std::cell::Cell::new(None) };
}
