//! Random numbers, and random jitter for lifetimes and pauses.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Returns `duration`, shortened by a random part of up to `fraction` of it.
///
/// The toolkit uses it for lifetimes and pauses, so that entries that were stored together do not expire together, and
/// processes that failed together do not retry together. A `fraction` that is negative or not a number counts as 0; one
/// above 1 counts as 1. Every duration up to [`Duration::MAX`] is allowed.
///
/// ```
/// use std::time::Duration;
///
/// let minute = Duration::from_secs(60);
/// let shorter = cache_core::jittered(minute, 0.1);
/// assert!(shorter >= Duration::from_secs(54) && shorter <= minute);
/// assert_eq!(cache_core::jittered(minute, 0.0), minute);
/// ```
#[must_use]
pub fn jittered(duration: Duration, fraction: f64) -> Duration {
    if fraction.is_nan() || fraction <= 0.0 {
        return duration;
    }
    shortened(duration, fraction.min(1.0) * random())
}

/// Returns a random number from 0 up to but not including 1, for decisions that are taken with some probability. It is
/// seeded by the operating system, cheap, and not fit for cryptography.
#[must_use]
pub fn random() -> f64 {
    // Each `RandomState` has new random keys, seeded by the operating system.
    let random = RandomState::new().hash_one(()) >> 11;
    random as f64 / (1_u64 << 53) as f64
}

fn shortened(duration: Duration, by: f64) -> Duration {
    // For the longest durations, the product may be rounded to one that `Duration` cannot represent.
    Duration::try_from_secs_f64(duration.as_secs_f64() * (1.0 - by)).map_or(duration, |shorter| shorter.min(duration))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_duration_is_shortened_by_the_fraction_at_most(
            seconds in prop_oneof![0..1000_u64, any::<u64>()],
            nanos in 0..1_000_000_000_u32,
            fraction in prop_oneof![0.0..1.0_f64, any::<f64>()],
        ) {
            let duration = Duration::new(seconds, nanos);
            let shorter = jittered(duration, fraction);
            prop_assert!(shorter <= duration);
            let kept = if fraction.is_nan() { 1.0 } else { 1.0 - fraction.clamp(0.0, 1.0) };
            let least = duration.as_secs_f64() * kept;
            prop_assert!(shorter.as_secs_f64() >= least - least * 1e-9 - 1e-8, "{shorter:?} of {duration:?}");
        }
    }

    #[test]
    fn no_extreme_panics() {
        for fraction in [
            0.0,
            f64::MIN_POSITIVE,
            f64::EPSILON,
            0.5,
            1.0,
            f64::INFINITY,
            f64::NAN,
            -1.0,
        ] {
            for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
                assert!(jittered(duration, fraction) <= duration);
            }
        }
    }

    #[test]
    fn the_part_differs_from_call_to_call() {
        let day = Duration::from_secs(24 * 60 * 60);
        let first = jittered(day, 1.0);
        assert!((0..100).any(|_| jittered(day, 1.0) != first));
    }
}
