//! The expiration time that memcached gets with a record.
//!
//! The record itself holds the exact deadline, so the server's time may be too long but never too short.

use std::time::Duration;

use cache_core::{Timestamp, Ttl};

/// No expiration: the record stays until memcached evicts it.
pub(crate) const NEVER: u32 = 0;

/// memcached reads a larger number as a Unix time.
const LONGEST_RELATIVE: u64 = 60 * 60 * 24 * 30;

/// A Unix time long past: the record expires as soon as it is written.
pub(crate) const GONE: u32 = LONGEST_RELATIVE as u32 + 1;

/// The server's clock counts whole seconds and may be one second behind, so a record with an expiration of 1 s may be
/// gone after a few milliseconds.
const COARSENESS: u64 = 2;

/// How far the server's clock may be ahead of ours, in seconds.
const SKEW: u64 = 60 * 60 * 24;

/// Returns the expiration in memcached's terms. `now` is the system's time and not that of the backend's clock, since
/// the server uses its own system's time.
pub(crate) fn expiration(ttl: Ttl, now: Timestamp) -> u32 {
    let Some(seconds) = ttl.as_secs_rounded_up() else {
        return NEVER;
    };
    let relative = seconds + COARSENESS;
    if relative <= LONGEST_RELATIVE {
        return relative as u32;
    }
    let deadline = now + Duration::from_secs(relative + SKEW);
    // memcached reads a signed number of 32 bits. A later deadline is enforced by the record alone.
    i32::try_from(deadline.as_secs_rounded_up()).map_or(NEVER, i32::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn at_2026(ttl: impl Into<Ttl>) -> u32 {
        expiration(ttl.into(), Timestamp::from_millis(1_767_225_600_000))
    }

    #[test]
    fn is_never_too_short_and_never_for_ever() {
        assert_eq!(at_2026(Ttl::FOREVER), 0);
        assert_eq!(at_2026(Ttl::from_millis(1)), 3);
        assert_eq!(at_2026(Ttl::from_millis(1000)), 3);
        assert_eq!(at_2026(Ttl::from_millis(1001)), 4);
    }

    #[test]
    fn becomes_a_date_above_30_days() {
        assert_eq!(at_2026(Duration::from_secs(30 * DAY - 2)), 2_592_000);
        assert_eq!(
            u64::from(at_2026(Duration::from_secs(30 * DAY))),
            1_767_225_600 + 31 * DAY + 2
        );
        // The deadline is after January 2038, the last date of a signed 32-bit number.
        assert_eq!(at_2026(Ttl::from_millis(Ttl::MAX_MILLIS)), 0);
        assert_eq!(
            at_2026(Duration::from_secs(11 * 365 * DAY)),
            1_767_225_600 + (11 * 365 + 1) * DAY as u32 + 2
        );
    }
}
