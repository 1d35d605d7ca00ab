//! The circuit breaker, which decides when the store is not called.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Opens after a number of failures in a row. While open, it lets one call through in each pause, to probe whether the
/// store answers again. A dead store therefore costs a few callers one timeout each, and after that nothing.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    pause: Duration,
    failures: AtomicU32,
    /// Milliseconds since `start` until which no call goes through. Zero while the breaker is closed.
    closed_to_calls_until: AtomicU64,
    probing: AtomicBool,
    start: Instant,
}

/// The state change that a finished call caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    None,
    Opened,
    Closed,
}

/// The permission to make one call. Changes nothing if it is dropped without a report.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Breaker {
    /// Creates a breaker that opens after `threshold` failures in a row, for `pause` at a time. With a threshold of
    /// zero it never opens.
    pub(crate) fn new(threshold: u32, pause: Duration) -> Self {
        Self {
            threshold,
            pause,
            failures: AtomicU32::new(0),
            closed_to_calls_until: AtomicU64::new(0),
            probing: AtomicBool::new(false),
            start: Instant::now(),
        }
    }

    /// Returns how long no call goes through after a failed probe.
    pub(crate) fn pause(&self) -> Duration {
        self.pause
    }

    /// Returns whether every call gets a permit.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed_to_calls_until.load(Ordering::Acquire) == 0
    }

    /// Returns whether the breaker is open, and for a whole pause no caller has made a probe that was due.
    pub(crate) fn is_forgotten(&self) -> bool {
        let until = self.closed_to_calls_until.load(Ordering::Acquire);
        let pause = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX);
        until != 0 && self.millis() >= until.saturating_add(pause)
    }

    /// Returns a permit for one call, or `None` if the breaker is open and this is no probe.
    pub(crate) fn permit(&self) -> Option<Permit<'_>> {
        let until = self.closed_to_calls_until.load(Ordering::Acquire);
        if until == 0 {
            return Some(Permit {
                breaker: self,
                probe: false,
            });
        }
        if self.millis() < until || self.probing.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(Permit {
            breaker: self,
            probe: true,
        })
    }

    fn millis(&self) -> u64 {
        // One more, so that zero means "closed" only.
        u64::try_from(self.start.elapsed().as_millis()).map_or(u64::MAX, |millis| millis.saturating_add(1))
    }
}

impl Permit<'_> {
    pub(crate) fn succeeded(self) -> Transition {
        self.breaker.failures.store(0, Ordering::Release);
        if self.breaker.closed_to_calls_until.swap(0, Ordering::AcqRel) == 0 {
            Transition::None
        } else {
            Transition::Closed
        }
    }

    pub(crate) fn failed(self) -> Transition {
        let breaker = self.breaker;
        let failures = breaker.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if breaker.threshold == 0 || failures < breaker.threshold {
            return Transition::None;
        }
        let pause = u64::try_from(breaker.pause.as_millis()).unwrap_or(u64::MAX);
        let until = breaker.millis().saturating_add(pause);
        if breaker.closed_to_calls_until.swap(until, Ordering::AcqRel) == 0 {
            Transition::Opened
        } else {
            Transition::None
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.probing.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_and_probes_once_a_pause() {
        let breaker = Breaker::new(2, Duration::from_secs(1));
        assert_eq!(breaker.permit().unwrap().failed(), Transition::None);
        assert_eq!(breaker.permit().unwrap().succeeded(), Transition::None);
        assert_eq!(breaker.permit().unwrap().failed(), Transition::None);
        assert_eq!(breaker.permit().unwrap().failed(), Transition::Opened);
        assert!(breaker.permit().is_none());

        tokio::time::advance(Duration::from_millis(1001)).await;
        assert!(
            !breaker.is_forgotten(),
            "a probe is due, and callers have time to make it"
        );
        let probe = breaker.permit().unwrap();
        assert!(breaker.permit().is_none(), "one probe at a time");
        assert_eq!(probe.failed(), Transition::None);
        assert!(breaker.permit().is_none());

        tokio::time::advance(Duration::from_millis(2001)).await;
        assert!(breaker.is_forgotten());
        drop(breaker.permit().unwrap());
        assert_eq!(
            breaker.permit().unwrap().succeeded(),
            Transition::Closed,
            "a probe given up is tried again"
        );
        assert!(breaker.permit().is_some() && breaker.permit().is_some());
        assert!(!breaker.is_forgotten());
    }

    #[tokio::test(start_paused = true)]
    async fn never_opens_with_a_threshold_of_zero() {
        let breaker = Breaker::new(0, Duration::from_secs(1));
        for _ in 0..100 {
            assert_eq!(breaker.permit().unwrap().failed(), Transition::None);
        }
    }
}
