//! A circuit breaker for one server.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The limit for longer pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Counts failures in a row. After too many the server is *down*: calls fail at once, and one probe in each pause
/// checks whether the server is back.
#[derive(Debug)]
pub(crate) struct Health {
    state: Mutex<State>,
    failures: u32,
    pause: Duration,
    patience: Duration,
}

#[derive(Debug)]
enum State {
    Up {
        failures: u32,
        since: Option<Instant>,
        last_good: Option<Instant>,
    },
    Down {
        until: Instant,
        probing: bool,
        /// When the server last came back before it went down.
        was_up_since: Option<Instant>,
    },
}

/// Whether a server may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Up,
    /// Down, and a probe is due.
    Due,
    /// Down.
    Down,
}

impl Health {
    /// The server is down after `failures` in a row. `patience` is how long a call may take.
    pub(crate) fn new(failures: u32, pause: Duration, patience: Duration) -> Self {
        Self {
            state: Mutex::new(State::Up {
                failures: 0,
                since: None,
                last_good: None,
            }),
            failures: failures.max(1),
            // A longer one could not be added to a time.
            pause: pause.min(LONGEST_PAUSE),
            patience,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        match *self.state.lock() {
            State::Up { .. } => Standing::Up,
            State::Down { until, probing, .. } if !probing && Instant::now() >= until => Standing::Due,
            State::Down { .. } => Standing::Down,
        }
    }

    /// Returns whether the server is down and had come back less than `time` ago.
    pub(crate) fn was_back_for_less_than(&self, time: Duration) -> bool {
        match *self.state.lock() {
            State::Down {
                was_up_since: Some(since),
                ..
            } => since.elapsed() < time,
            _ => false,
        }
    }

    /// Returns whether a call has succeeded since the server came up, or before it went down.
    pub(crate) fn has_answered(&self) -> bool {
        match &*self.state.lock() {
            State::Up { last_good, .. } => last_good.is_some(),
            State::Down { was_up_since, .. } => was_up_since.is_some(),
        }
    }

    /// Admits a call while the server is up.
    pub(crate) fn admit(&self) -> Option<Admission<'_>> {
        let is_up = matches!(*self.state.lock(), State::Up { .. });
        is_up.then(|| self.admission(false))
    }

    /// Admits a probe if one is due and none is running. Its success ends the pause.
    pub(crate) fn probe(&self) -> Option<Admission<'_>> {
        match &mut *self.state.lock() {
            State::Down { until, probing, .. } if !*probing && Instant::now() >= *until => *probing = true,
            _ => return None,
        }
        Some(self.admission(true))
    }

    /// Admits a probe in any case. Its success ends the pause.
    pub(crate) fn probe_now(&self) -> Admission<'_> {
        if let State::Down { probing, .. } = &mut *self.state.lock() {
            *probing = true;
        }
        self.admission(true)
    }

    fn admission(&self, probe: bool) -> Admission<'_> {
        Admission {
            health: self,
            begun: Instant::now(),
            probe,
            verdict: None,
        }
    }

    fn settle(&self, verdict: Verdict, begun: Instant, probe: bool) {
        let now = Instant::now();
        let mut state = self.state.lock();
        match &mut *state {
            State::Up {
                failures,
                since,
                last_good,
            } => match verdict {
                Verdict::Good => {
                    *failures = 0;
                    *last_good = Some(now);
                }
                // The server answered other calls meanwhile, so it is busy and not down.
                Verdict::Slow if last_good.is_some_and(|good| good > begun) => {}
                Verdict::Bad | Verdict::Slow => {
                    *failures += 1;
                    if *failures >= self.failures {
                        *state = State::Down {
                            until: now + self.pause,
                            probing: false,
                            was_up_since: *since,
                        };
                    }
                }
                Verdict::None => {}
            },
            // A call that began before the pause does not show that the server is back.
            State::Down { .. } if !probe => {}
            State::Down { until, probing, .. } => match verdict {
                Verdict::Good => {
                    *state = State::Up {
                        failures: 0,
                        since: Some(now),
                        last_good: Some(now),
                    };
                }
                Verdict::Bad | Verdict::Slow => {
                    *until = now + self.pause;
                    *probing = false;
                }
                // Another call may probe.
                Verdict::None => *probing = false,
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It failed.
    Bad,
    /// It timed out.
    Slow,
    None,
}

/// A running call. Dropping it after a long wait counts as a timeout.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    health: &'a Health,
    begun: Instant,
    probe: bool,
    verdict: Option<Verdict>,
}

impl Admission<'_> {
    /// Returns when the call began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    pub(crate) fn good(mut self) {
        self.verdict = Some(Verdict::Good);
    }

    pub(crate) fn bad(mut self) {
        self.verdict = Some(Verdict::Bad);
    }

    pub(crate) fn slow(mut self) {
        self.verdict = Some(Verdict::Slow);
    }

    /// The call says nothing about the server, however long it took.
    pub(crate) fn nothing(mut self) {
        self.verdict = Some(Verdict::None);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        // Otherwise callers with a shorter timeout than ours would keep calling a frozen server.
        let verdict = self
            .verdict
            .unwrap_or_else(|| match self.begun.elapsed() >= self.health.patience / 2 {
                true => Verdict::Slow,
                false => Verdict::None,
            });
        self.health.settle(verdict, self.begun, self.probe);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn health() -> Health {
        Health::new(2, PAUSE, Duration::from_millis(400))
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_make_a_pause_and_one_call_ends_it() {
        let health = health();
        for _ in 0..3 {
            health.admit().unwrap().bad();
            health.admit().unwrap().good();
        }
        assert_eq!(health.standing(), Standing::Up, "never two in a row");

        let late = health.admit().unwrap();
        health.admit().unwrap().bad();
        health.admit().unwrap().bad();
        assert!(health.admit().is_none() && health.probe().is_none());
        late.good();
        assert_eq!(health.standing(), Standing::Down, "it began before");
        advance(PAUSE).await;
        assert_eq!(health.standing(), Standing::Due);
        let probe = health.probe().unwrap();
        assert!(health.probe().is_none(), "one at a time");
        probe.bad();
        assert!(health.probe().is_none(), "another pause");
        advance(PAUSE).await;
        health.probe().unwrap().good();
        assert_eq!(health.standing(), Standing::Up);
        assert!(health.admit().is_some() && health.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_pause_is_no_trouble() {
        let health = Health::new(1, Duration::MAX, Duration::from_millis(400));
        health.admit().unwrap().bad();
        assert_eq!(health.standing(), Standing::Down);
        health.probe_now().bad();
        advance(PAUSE).await;
        assert_eq!(health.standing(), Standing::Down);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_goes_away_early_says_nothing_and_one_who_waited_does() {
        let health = health();
        for _ in 0..10 {
            drop(health.admit());
        }
        assert_eq!(health.standing(), Standing::Up);
        for _ in 0..2 {
            let call = health.admit();
            advance(Duration::from_millis(200)).await;
            drop(call);
        }
        assert_eq!(health.standing(), Standing::Down);

        advance(PAUSE).await;
        drop(health.probe());
        assert_eq!(health.standing(), Standing::Due, "the probe was dropped at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_others_meanwhile_is_busy_and_not_away() {
        let health = health();
        for _ in 0..10 {
            let slow = health.admit().unwrap();
            advance(Duration::from_millis(300)).await;
            health.admit().unwrap().good();
            slow.slow();
        }
        assert_eq!(health.standing(), Standing::Up);
        for _ in 0..2 {
            let slow = health.admit().unwrap();
            advance(Duration::from_millis(300)).await;
            slow.slow();
        }
        assert_eq!(health.standing(), Standing::Down);
    }
}
