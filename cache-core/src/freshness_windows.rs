//! The times for which a copy is fresh, and for which it may be used while it is stale.

use std::time::Duration;

use crate::optional_duration::OptionalDuration;
use crate::ttl::{Ttl, millis_rounded_up};

/// How long a stored copy may be used, counted from its creation.
///
/// First a copy is *fresh*. Then two windows begin at the same time, as in RFC 5861: in one, the stale copy is returned
/// while a new one is loaded; in the other, it is returned if the load fails. After both, the copy is not used.
///
/// The resolution is a millisecond; fractions are rounded up.
///
/// ```
/// use std::time::Duration;
/// use cache_core::{Ttl, FreshnessWindows};
///
/// let windows = FreshnessWindows::new(Duration::from_secs(60))
///     .with_stale_while_revalidate(Duration::from_secs(10))
///     .with_stale_if_error(Duration::from_secs(600));
/// assert_eq!(windows.total(), Ttl::from(Duration::from_secs(660)));
/// assert_eq!(FreshnessWindows::FOREVER.total(), Ttl::FOREVER);
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FreshnessWindows {
    /// How long the copy is fresh; `None` means for ever.
    pub fresh: Option<Duration>,
    /// How long after that the stale copy is returned while a new one is loaded.
    pub stale_while_revalidate: Duration,
    /// How long after `fresh` the stale copy is returned if a load fails.
    pub stale_if_error: Duration,
}

impl FreshnessWindows {
    /// Fresh for ever.
    pub const FOREVER: Self = Self {
        fresh: None,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };

    /// Makes windows that are fresh for `fresh`, or for ever if it is `None`, with no use of stale copies.
    #[must_use]
    pub fn new(fresh: impl OptionalDuration) -> Self {
        Self {
            fresh: fresh.into_option(),
            ..Self::FOREVER
        }
    }

    /// Sets [`stale_while_revalidate`](Self::stale_while_revalidate).
    #[must_use]
    pub const fn with_stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window;
        self
    }

    /// Sets [`stale_if_error`](Self::stale_if_error).
    #[must_use]
    pub const fn with_stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window;
        self
    }

    /// Returns how long a store keeps the copy: `fresh` plus the longer of the two windows.
    #[must_use]
    pub fn total(&self) -> Ttl {
        let Some(fresh) = self.fresh else {
            return Ttl::FOREVER;
        };
        let stale = self.stale_while_revalidate.max(self.stale_if_error);
        Ttl::from_millis(millis_rounded_up(fresh).saturating_add(millis_rounded_up(stale)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_keeps_a_copy_until_its_last_window_ends() {
        let second = Duration::from_secs(1);
        let windows = FreshnessWindows::new(second).with_stale_while_revalidate(3 * second);
        assert_eq!(windows.total(), Ttl::from_millis(4_000));
        assert_eq!(windows.with_stale_if_error(2 * second).total(), Ttl::from_millis(4_000));
        assert_eq!(
            windows.with_stale_if_error(9 * second).total(),
            Ttl::from_millis(10_000)
        );
    }

    #[test]
    fn the_total_neither_overflows_nor_rounds_down() {
        let tick = Duration::from_nanos(1);
        assert_eq!(
            FreshnessWindows::new(tick).with_stale_if_error(tick).total(),
            Ttl::from_millis(2)
        );
        let longest = FreshnessWindows::new(Duration::MAX).with_stale_if_error(Duration::MAX);
        assert_eq!(longest.total(), Ttl::from_millis(Ttl::MAX_MILLIS));
        assert_eq!(
            FreshnessWindows::FOREVER.with_stale_if_error(tick).total(),
            Ttl::FOREVER
        );
    }
}
