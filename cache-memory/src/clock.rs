//! The machine's monotonic clock, in milliseconds from an arbitrary origin: exactly, or at a glance.

use std::sync::LazyLock;
use std::time::Instant;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Reads the clock by the standard library.
fn portably() -> u64 {
    let passed = ORIGIN.elapsed();
    // Avoids the 128-bit division of `as_millis`.
    passed.as_secs() * 1_000 + u64::from(passed.subsec_millis())
}

#[cfg(target_os = "linux")]
mod machine {
    use nix::time::ClockId;

    fn read(clock: ClockId) -> Option<u64> {
        let time = clock.now().ok()?;
        let (seconds, nanos) = (u64::try_from(time.tv_sec()).ok()?, u64::try_from(time.tv_nsec()).ok()?);
        Some(seconds * 1_000 + nanos / 1_000_000)
    }

    pub(crate) fn now() -> u64 {
        // Every Linux has this clock, which is that of the standard library.
        read(ClockId::CLOCK_MONOTONIC).unwrap_or_else(super::portably)
    }

    // The kernel notes this time at each of its ticks. Reading it takes a third of the time, since the processor's counter
    // is not read.
    pub(crate) fn lately() -> u64 {
        read(ClockId::CLOCK_MONOTONIC_COARSE).unwrap_or_else(now)
    }
}

#[cfg(not(target_os = "linux"))]
mod machine {
    pub(crate) use super::portably as now;
    pub(crate) use super::portably as lately;
}

/// Returns the time.
pub(crate) use machine::now;

/// Returns a time that is past by at most some ten milliseconds, or longer if the machine stood still. It costs less than
/// [`now`].
pub(crate) use machine::lately;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_is_close_to_the_time_and_never_ahead() {
        for _ in 0..1_000 {
            let (before, lately, after) = (now(), lately(), now());
            assert!(lately <= after, "{lately} is after {after}");
            // Far more than a tick, for machines that are busy.
            assert!(lately + 1_000 >= before, "{lately} is long before {before}");
        }
    }
}
