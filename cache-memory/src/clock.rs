//! The machine's monotonic clock, in milliseconds from an arbitrary origin: exactly, or at a glance.

use std::sync::LazyLock;
use std::time::Instant;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time.
pub(crate) fn now() -> u64 {
    let passed = ORIGIN.elapsed();
    // Avoids the 128-bit division of `as_millis`.
    passed.as_secs() * 1_000 + u64::from(passed.subsec_millis())
}

/// Returns the time to within some ten milliseconds. If the machine stood still, it may be past by as long. Costs less than
/// [`now`]: the kernel notes this time at each of its ticks, so the processor's counter is not read.
#[cfg(target_os = "linux")]
pub(crate) fn lately() -> u64 {
    use coarsetime::Instant;

    /// A moment by the clock of the kernel's ticks, and the same one by [`now`].
    static BOTH: LazyLock<(Instant, u64)> = LazyLock::new(|| (Instant::now_without_cache_update(), now()));
    let (origin, time) = &*BOTH;
    // Without the update, which would write to memory that all threads share.
    time + Instant::now_without_cache_update().duration_since(*origin).as_millis()
}

/// Returns the time. Elsewhere, the cheap clocks differ from that of the standard library while the machine sleeps.
#[cfg(not(target_os = "linux"))]
pub(crate) use self::now as lately;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_is_close_to_the_time() {
        for _ in 0..1_000 {
            let (before, lately, after) = (now(), lately(), now());
            // Far more than a tick, for machines that are busy.
            let close = before.saturating_sub(1_000)..=after + 1_000;
            assert!(close.contains(&lately), "{lately} is not close to {before} and {after}");
        }
    }
}
