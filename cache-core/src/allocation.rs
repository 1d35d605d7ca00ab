//! The memory that allocations take.

/// The length that the allocator notes in front of each allocation.
const NOTE: usize = 8;
const STEP: usize = 16;
const SMALLEST: usize = 32;
/// Allocations from this size on are pages of their own.
const MAPPED: usize = 128 * 1024;
const PAGE: usize = 4096;

/// Returns the bytes of memory that an allocation of `len` bytes takes.
///
/// Use it to state the weight of a [`SharedValue`](crate::SharedValue) or of a value in
/// [`Coder::weight`](crate::Coder::weight). It follows the rules of glibc on 64-bit systems. Other allocators round up in
/// other steps.
///
/// ```
/// use cache_core::allocated;
///
/// assert_eq!(allocated(0), 0);
/// assert_eq!(allocated(100), 112);
/// ```
#[must_use]
pub const fn allocated(len: usize) -> usize {
    if len == 0 {
        0
    } else if len < MAPPED {
        let rounded = (len + NOTE).next_multiple_of(STEP);
        if rounded < SMALLEST { SMALLEST } else { rounded }
    } else {
        let pages = len.saturating_add(2 * NOTE) / PAGE + 1;
        pages.saturating_mul(PAGE)
    }
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
            (usize::MAX, usize::MAX),
        ] {
            assert_eq!(allocated(len), expected, "{len}");
        }
    }
}
