//! The counters of the last hour.

use std::collections::VecDeque;
use std::time::Duration;

use cache_engine::{CacheStats, NamespaceStats};
use tokio::time::Instant;

/// The most samples that are kept.
const MOST: usize = 120;

/// The pause before the second sample.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: with it, the samples reach back an hour.
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// How far back the history reaches at most.
pub(super) const REACH: Duration = Duration::from_secs(3_600);

/// The counters of a cache at some moments of the last hour, the last one at the end.
///
/// While it is short, it is fine: pauses begin with a second, and double whenever the samples are too many.
pub(super) struct History {
    samples: VecDeque<Sample>,
    pause: Duration,
}

struct Sample {
    at: Instant,
    total: NamespaceStats,
    faults: Faults,
}

/// How often something has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Calls of the store.
    pub(super) store: u64,
    /// Decoding a record.
    pub(super) decode: u64,
    /// Encoding a value.
    pub(super) encode: u64,
}

impl Faults {
    pub(super) fn of(stats: &CacheStats) -> Self {
        Self {
            store: stats.store_failures,
            decode: stats.decode_failures,
            encode: stats.encode_failures,
        }
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            store: self.store.saturating_sub(earlier.store),
            decode: self.decode.saturating_sub(earlier.decode),
            encode: self.encode.saturating_sub(earlier.encode),
        }
    }
}

/// What happened between two samples that follow each other.
pub(super) struct Interval {
    /// How long ago it began.
    pub(super) from: Duration,
    /// How long ago it ended.
    pub(super) to: Duration,
    pub(super) stats: NamespaceStats,
}

impl History {
    pub(super) fn new(total: NamespaceStats, faults: Faults) -> Self {
        let first = Sample {
            at: Instant::now(),
            total,
            faults,
        };
        Self {
            samples: [first].into(),
            pause: FIRST_PAUSE,
        }
    }

    /// Takes a sample if it is time, and returns how long to wait for the next one.
    pub(super) fn sample_if_due(&mut self, counted: impl FnOnce() -> (NamespaceStats, Faults)) -> Duration {
        let due = self.samples.back().map(|last| last.at + self.pause);
        let now = Instant::now();
        if let Some(due) = due
            && now < due
        {
            return due - now;
        }
        if self.samples.len() == MOST {
            self.make_room();
        }
        let (total, faults) = counted();
        self.samples.push_back(Sample { at: now, total, faults });
        self.pause
    }

    fn make_room(&mut self) {
        if self.pause >= LONGEST_PAUSE {
            self.samples.pop_front();
            return;
        }
        self.pause *= 2;
        // The first one stays, with what the history begins.
        let mut stays = false;
        self.samples.retain(|_| {
            stays = !stays;
            stays
        });
    }

    /// Returns what happened since the oldest sample of the last hour, and how long ago that was taken.
    pub(super) fn since(&self, now: &NamespaceStats) -> (NamespaceStats, Duration) {
        self.of_the_last_hour().next().map_or_else(
            || (now.clone(), Duration::ZERO),
            |oldest| (now.since(&oldest.total), oldest.at.elapsed()),
        )
    }

    /// Returns how often something has failed since the oldest sample of the last hour.
    pub(super) fn faults_since(&self, now: Faults) -> Faults {
        let oldest = self.of_the_last_hour().next();
        now.since(oldest.map_or(now, |oldest| oldest.faults))
    }

    /// Returns what happened between the samples of the last hour, and since the last one. `now` are the counters now.
    pub(super) fn intervals(&self, now: &NamespaceStats) -> Vec<Interval> {
        let between = |earlier: &Sample, to: Duration, later: &NamespaceStats| Interval {
            from: earlier.at.elapsed(),
            to,
            stats: later.since(&earlier.total),
        };
        let mut samples: Vec<&Sample> = self.of_the_last_hour().collect();
        // What is too short to say anything is joined to the interval before it.
        if samples.len() > 1 && samples.last().is_some_and(|last| last.at.elapsed() < self.pause / 2) {
            samples.pop();
        }
        let pairs = samples.windows(2);
        let mut intervals: Vec<_> = pairs
            .map(|pair| between(pair[0], pair[1].at.elapsed(), &pair[1].total))
            .collect();
        let last = samples.last().map(|last| between(last, Duration::ZERO, now));
        intervals.extend(last);
        intervals
    }

    fn of_the_last_hour(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().skip_while(|sample| sample.at.elapsed() > REACH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a history of `secs` seconds with one request each, and the counters at its end.
    async fn played(secs: u64) -> (History, NamespaceStats) {
        let mut total = NamespaceStats::default();
        let mut history = History::new(total.clone(), Faults::default());
        for _ in 0..secs {
            tokio::time::advance(FIRST_PAUSE).await;
            total.misses += 1;
            history.sample_if_due(|| {
                (
                    total.clone(),
                    Faults {
                        store: 7,
                        ..Faults::default()
                    },
                )
            });
        }
        (history, total)
    }

    #[tokio::test(start_paused = true)]
    async fn bounded_and_reaches_back_an_hour() {
        for secs in [0, 1, 60, 119, 120, 121, 500, 3_599, 3_700, 9_000] {
            let (history, total) = played(secs).await;
            assert!(history.samples.len() <= MOST, "{secs}");
            let (hour, reach) = history.since(&total);
            let expected = Duration::from_secs(secs).min(REACH);
            assert!(
                reach <= expected && reach + LONGEST_PAUSE >= expected,
                "{secs}: {reach:?}"
            );
            let intervals = history.intervals(&total);
            let sum: u64 = intervals.iter().map(|interval| interval.stats.misses).sum();
            assert_eq!((sum, hour.misses), (reach.as_secs(), reach.as_secs()), "{secs}");
            // One follows the other, up to now.
            for pair in intervals.windows(2) {
                assert_eq!(pair[0].to, pair[1].from, "{secs}");
            }
            assert_eq!(intervals.last().map(|last| last.to), Some(Duration::ZERO));
        }
    }

    /// What failed in the first second is of interest for an hour.
    #[tokio::test(start_paused = true)]
    async fn faults_are_forgotten_after_an_hour() {
        let now = Faults {
            store: 7,
            ..Faults::default()
        };
        for (secs, recent) in [(60, 7), (3_500, 7), (3_700, 0)] {
            let (history, _) = played(secs).await;
            assert_eq!(history.faults_since(now).store, recent, "{secs}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fine_at_first() {
        let (history, total) = played(60).await;
        assert_eq!(history.intervals(&total).len(), 60);
        let (history, total) = played(3_600).await;
        let lengths = history.intervals(&total);
        let longest = lengths.iter().map(|interval| interval.from - interval.to).max();
        assert!(longest.is_some_and(|longest| (LONGEST_PAUSE..LONGEST_PAUSE * 3 / 2).contains(&longest)));
    }
}
