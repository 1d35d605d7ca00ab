//! The lock of the flight map: the standard library's, or one that a model checker schedules.

#[cfg(not(shuttle))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(shuttle)]
pub(super) use shuttle::sync::{Mutex, MutexGuard};

/// A deliberate mistake, to check that the model checker finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A leader that gives up the lead wakes nobody.
    WakesNobody,
    /// A flight that was removed from the map shares what it lands with.
    SharesDetached,
    /// A waiter leads although there is a leader already.
    LeadsBeside,
    /// The last waiter to leave does not release the fence that a leader left.
    ForgetsFence,
}

impl Mistake {
    /// Returns whether the mistake is made in this run.
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
    /// Thread-local, because all threads of one schedule run on one thread of the operating system.
    pub(super) static MADE: std::cell::Cell<Option<Mistake>> = const { std::cell::Cell::new(None) };
}
