//! What tells caches downstream of invalidations.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, async_trait};

use crate::tier::target::InvalidationTarget;

/// Tells caches downstream, such as a CDN, what was invalidated; see [`CacheBuilder::purger`](crate::CacheBuilder::purger).
///
/// It is told of invalidations after the store has carried them out, so that a cache downstream which asks again gets
/// what is new. Several are told at once, and what comes while it works is told with the next call. A purge that fails
/// is repeated until it succeeds, so purging what was purged already must do no harm.
///
/// ```
/// use cache_engine::cache_core::{Error, async_trait};
/// use cache_engine::{InvalidationTarget, Purge, Purger};
///
/// struct Print;
///
/// #[async_trait]
/// impl Purger for Print {
///     async fn purge(&self, purges: &[Purge]) -> Result<(), Error> {
///         for purge in purges {
///             if let InvalidationTarget::Tag(tag) = &purge.target {
///                 println!("purge what carries {tag}");
///             }
///         }
///         Ok(())
///     }
/// }
/// # let _ = Print;
/// ```
#[async_trait]
pub trait Purger: Send + Sync + 'static {
    /// Purges all of `purges`, which are a few dozen at most.
    ///
    /// # Errors
    /// What was not purged, or why. All of `purges` are repeated then. After
    /// [`Unavailable`](cache_core::ErrorKind::Unavailable) or [`Timeout`](cache_core::ErrorKind::Timeout), others wait for
    /// the next attempt.
    async fn purge(&self, purges: &[Purge]) -> Result<(), Error>;

    /// Returns a purger for each of several servers, so that a cache tells each on its own: what one server refuses or
    /// leaves unanswered then neither delays what the others are told, nor tells them again. The cache calls those in
    /// place of this one. The provided method returns none, and this purger is called.
    fn by_server(&self) -> Vec<Arc<dyn Purger>> {
        Vec::new()
    }

    /// Returns how long a call of [`purge`](Self::purge) may take. After that it is dropped, and counts as failed. The
    /// provided method returns 10 s.
    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Returns how long after a purge it is repeated once, for responses that were on their way downstream meanwhile: made
    /// before the invalidation, they may arrive after the purge. `None` is never. The provided method returns 2 s.
    fn repeats_after(&self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }
}

/// An invalidation that a [`Purger`] is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purge {
    /// What was invalidated.
    pub target: InvalidationTarget,
    /// Whether it was invalidated softly, so that copies may still be used while they are stale.
    pub soft: bool,
}

impl Purge {
    /// Creates the purge of a target, to test a [`Purger`] with.
    #[must_use]
    pub fn new(target: InvalidationTarget, soft: bool) -> Self {
        Self { target, soft }
    }
}
