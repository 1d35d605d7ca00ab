//! Numbers of seconds (RFC 9111, section 1.2.2).

/// The largest number of seconds that a directive or `Age` can express. Larger ones count as this (RFC 9111, section
/// 1.2.2).
pub const MAX_SECONDS: u32 = 1 << 31;

/// Parses a number of seconds: digits only. Returns `None` for anything else.
pub(crate) fn parse_seconds(digits: &[u8]) -> Option<u32> {
    let digits = digits.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = digits.iter().fold(0_u32, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    });
    Some(seconds.min(MAX_SECONDS))
}
