//! The machine's monotonic clock, in milliseconds from an arbitrary origin: exactly, or at a glance.

#[cfg(target_os = "linux")]
mod machine {
    use rustix::time::{ClockId, Timespec, clock_gettime};

    fn millis(time: Timespec) -> u64 {
        // The clock counts from the start of the machine, so it is not negative.
        time.tv_sec.unsigned_abs() * 1_000 + time.tv_nsec.unsigned_abs() / 1_000_000
    }

    pub(crate) fn now() -> u64 {
        millis(clock_gettime(ClockId::Monotonic))
    }

    // The kernel notes this time at each of its ticks. To read it takes a third of the time, since no counter of the
    // processor is read.
    pub(crate) fn lately() -> u64 {
        millis(clock_gettime(ClockId::MonotonicCoarse))
    }
}

#[cfg(not(target_os = "linux"))]
mod machine {
    use std::sync::LazyLock;
    use std::time::Instant;

    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub(crate) fn now() -> u64 {
        let passed = ORIGIN.elapsed();
        // Runs at every hit, so it avoids the 128-bit division of `as_millis`.
        passed.as_secs() * 1_000 + u64::from(passed.subsec_millis())
    }

    pub(crate) fn lately() -> u64 {
        now()
    }
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
