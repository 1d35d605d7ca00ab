//! What allocations take, beyond the bytes that were asked for.
//!
//! The rules are those of glibc on 64-bit systems. Other allocators round by other steps and keep their notes elsewhere,
//! which comes to about the same on average.

/// The length that the allocator notes in front of each allocation.
const NOTE: u64 = 8;
const STEP: u64 = 16;
const SMALLEST: u64 = 32;
/// Allocations from this size on are pages of their own.
const MAPPED: u64 = 128 * 1024;
const PAGE: u64 = 4096;

/// Returns the bytes of memory that an allocation of `len` bytes takes.
pub(crate) const fn taken(len: u64) -> u64 {
    if len == 0 {
        0
    } else if len < MAPPED {
        let rounded = len.saturating_add(NOTE).next_multiple_of(STEP);
        if rounded < SMALLEST { SMALLEST } else { rounded }
    } else {
        let pages = len.saturating_add(2 * NOTE) / PAGE + 1;
        pages.saturating_mul(PAGE)
    }
}

/// Returns a length whose allocation takes at most `room` bytes, and is almost the largest one.
pub(crate) const fn largest_in(room: u64) -> u64 {
    if room < SMALLEST {
        return 0;
    }
    let margin = if room < MAPPED { NOTE + STEP } else { PAGE + 2 * NOTE };
    room - margin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_takes_a_little_more_than_its_length() {
        for (len, expected) in [
            (0, 0),
            (1, 32),
            (24, 32),
            (25, 48),
            (40, 48),
            (41, 64),
            (1_000, 1_008),
            (131_071, 131_088),
            (131_072, 135_168),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(taken(len), expected, "{len}");
        }
    }

    #[test]
    fn the_largest_allocation_fits() {
        for room in (0..300_000).step_by(7) {
            assert!(taken(largest_in(room)) <= room, "{room}");
        }
    }
}
