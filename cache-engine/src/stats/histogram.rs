//! A histogram of durations with fixed bounds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets. One more bucket has no bound.
pub(crate) const BOUNDS: [Duration; 14] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// Counts durations by bucket, and sums them.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn record(&self, time: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < time);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn times(&self) -> LoadTimes {
        let counts = std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed));
        LoadTimes {
            counts,
            total: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
        }
    }
}

/// How long loads took: a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadTimes {
    counts: [u64; BOUNDS.len() + 1],
    total: Duration,
}

impl LoadTimes {
    /// Returns the buckets, from short to long: the upper bound of each, which belongs to it, and how many loads are in
    /// it and in no bucket before it. The last bucket has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bounds = BOUNDS.iter().map(|bound| Some(*bound)).chain([None]);
        bounds.zip(self.counts)
    }

    /// Returns the number of loads.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the time that all loads took together.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total
    }

    /// Returns the mean time of a load, or `None` if there was none.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let count = self.count();
        (count > 0).then(|| self.total.div_f64(count as f64))
    }

    /// Returns the time within which this share of the loads ended, for example `0.95`, or `None` if there was none. It is
    /// an estimate: loads are taken to be spread evenly over their bucket, and those of more than 30 s to take 30 s.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = share.clamp(0.0, 1.0) * self.count() as f64;
        let (mut before, mut lower) = (0, Duration::ZERO);
        for (bound, count) in self.buckets() {
            let upper = bound.unwrap_or(lower);
            if count > 0 && (before + count) as f64 >= rank {
                let part = (rank - before as f64) / count as f64;
                return Some(lower + (upper - lower).mul_f64(part.clamp(0.0, 1.0)));
            }
            (before, lower) = (before + count, upper);
        }
        None
    }

    /// Returns the loads that ended after those of `earlier`, a histogram of the same loads.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            counts: std::array::from_fn(|at| self.counts[at].saturating_sub(earlier.counts[at])),
            total: self.total.saturating_sub(earlier.total),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.total = self.total.saturating_add(other.total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 30_000, 30_001] {
            histogram.record(Duration::from_millis(millis));
        }
        let times = histogram.times();
        let buckets: Vec<_> = times.buckets().filter(|(_, count)| *count > 0).collect();
        let seconds = Some(Duration::from_secs(30));
        assert_eq!(
            buckets,
            [(Some(BOUNDS[0]), 2), (Some(BOUNDS[1]), 1), (seconds, 1), (None, 1)]
        );
        assert_eq!((times.count(), times.total()), (5, Duration::from_millis(60_004)));
    }

    #[test]
    fn quantiles_are_within_the_bucket_of_their_rank() {
        let histogram = Histogram::default();
        assert_eq!(
            (histogram.times().mean(), histogram.times().quantile(0.5)),
            (None, None)
        );
        for millis in [3, 3, 3, 3, 7, 7, 7, 7, 40_000, 40_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let times = histogram.times();
        for (share, micros) in [(0.0, 2_000), (0.2, 3_500), (0.4, 5_000), (0.6, 7_500), (0.8, 10_000)] {
            assert_eq!(times.quantile(share), Some(Duration::from_micros(micros)), "{share}");
        }
        assert_eq!(times.quantile(0.95), Some(Duration::from_secs(30)));
        assert_eq!(times.quantile(7.0), times.quantile(1.0));
        assert_eq!(times.quantile(f64::NAN), None);
        assert_eq!(times.mean(), Some(Duration::from_millis(8_004)));
    }

    #[test]
    fn the_difference_of_two_moments() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_millis(3));
        let earlier = histogram.times();
        histogram.record(Duration::from_millis(70));
        let since = histogram.times().since(&earlier);
        assert_eq!((since.count(), since.mean()), (1, Some(Duration::from_millis(70))));
        assert_eq!(earlier.since(&histogram.times()), LoadTimes::default());
    }
}
