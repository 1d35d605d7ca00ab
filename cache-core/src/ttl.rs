//! Lifetimes of records.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// How long a store keeps a record: a number of milliseconds, or for ever.
///
/// A lifetime is never zero, since some stores take zero for "for ever". It is never rounded down, so that no record expires
/// early: a fraction of a millisecond counts as a whole one.
///
/// ```
/// use std::time::Duration;
/// use cache_core::Ttl;
///
/// assert_eq!(Ttl::from(Duration::from_micros(1500)).as_millis(), Some(2));
/// assert_eq!(Ttl::from(Duration::ZERO).as_millis(), Some(1));
/// assert_eq!(Ttl::FOREVER.as_millis(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ttl(Option<NonZeroU64>);

impl Ttl {
    /// Does not expire.
    pub const FOREVER: Self = Self(None);

    /// The longest lifetime that ends, in milliseconds: 100 years of 365 days. Every store can represent its deadline.
    pub const MAX_MILLIS: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

    /// Makes a lifetime of `millis` milliseconds, at least 1 and at most [`MAX_MILLIS`](Self::MAX_MILLIS).
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        let millis = if millis > Self::MAX_MILLIS {
            Self::MAX_MILLIS
        } else {
            millis
        };
        match NonZeroU64::new(millis) {
            Some(millis) => Self(Some(millis)),
            None => Self(Some(NonZeroU64::MIN)),
        }
    }

    /// Returns the lifetime in milliseconds, at least 1; `None` for [`FOREVER`](Self::FOREVER).
    #[must_use]
    pub const fn as_millis(self) -> Option<u64> {
        match self.0 {
            Some(millis) => Some(millis.get()),
            None => None,
        }
    }

    /// Returns the lifetime in seconds, rounded up, so at least 1; `None` for [`FOREVER`](Self::FOREVER).
    #[must_use]
    pub const fn as_secs_rounded_up(self) -> Option<u64> {
        match self.0 {
            Some(millis) => Some(millis.get().div_ceil(1000)),
            None => None,
        }
    }

    /// Returns the lifetime as a [`Duration`]; `None` for [`FOREVER`](Self::FOREVER).
    #[must_use]
    pub const fn as_duration(self) -> Option<Duration> {
        match self.0 {
            Some(millis) => Some(Duration::from_millis(millis.get())),
            None => None,
        }
    }
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::from_millis(millis_rounded_up(duration))
    }
}

/// Returns whole milliseconds, rounded up.
pub(crate) fn millis_rounded_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl fmt::Debug for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(millis) => write!(f, "Ttl({millis} ms)"),
            None => f.write_str("Ttl(forever)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_immortal_and_never_early() {
        assert_eq!(Ttl::from(Duration::from_nanos(1)).as_millis(), Some(1));
        assert_eq!(Ttl::from(Duration::MAX).as_millis(), Some(Ttl::MAX_MILLIS));
        assert_eq!(Ttl::from_millis(1001).as_secs_rounded_up(), Some(2));
        assert_eq!(Ttl::from_millis(1000).as_secs_rounded_up(), Some(1));
    }
}
