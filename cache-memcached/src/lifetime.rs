//! How long memcached is told to keep a record.
//!
//! The exact deadline is in the record. What the server is told must only never be too short.

use std::time::Duration;

use cache_core::{Timestamp, Ttl};

/// "Never": until memcached needs the room.
const NEVER: u32 = 0;

/// Above 30 days memcached takes a number for a point in time.
const LONGEST_RELATIVE: u64 = 60 * 60 * 24 * 30;

/// A point in time that is long past: the record is gone as soon as it is written.
pub(crate) const GONE: u32 = LONGEST_RELATIVE as u32 + 1;

/// The server's clock counts whole seconds and may be one behind, so a record of one second can be gone after a few
/// milliseconds.
const COARSENESS: u64 = 2;

/// How far the server's idea of the date may be ahead of ours.
const SKEW: u64 = 60 * 60 * 24;

/// The expiration in memcached's terms. `now` is the time of the day, whatever the clock of the backend says: the
/// server knows no other.
pub(crate) fn expiration(ttl: Ttl, now: Timestamp) -> u32 {
    let Some(seconds) = ttl.as_secs_rounded_up() else {
        return NEVER;
    };
    let relative = seconds + COARSENESS;
    if relative <= LONGEST_RELATIVE {
        return relative as u32;
    }
    let deadline = now + Duration::from_secs(relative + SKEW);
    // memcached reads a signed number of 32 bits. What lies beyond ends by the deadline in the record.
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
        // After January 2038 there are no dates left.
        assert_eq!(at_2026(Ttl::from_millis(Ttl::MAX_MILLIS)), 0);
        assert_eq!(
            at_2026(Duration::from_secs(11 * 365 * DAY)),
            1_767_225_600 + (11 * 365 + 1) * DAY as u32 + 2
        );
    }
}
