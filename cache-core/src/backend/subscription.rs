//! Subscriptions to the changes of a store's records.

use std::fmt;
use std::time::Instant;

use async_trait::async_trait;

use crate::error::Error;
use crate::key::Key;

/// What a [`Subscription`] reports about the records in its [`Scope`](crate::Scope).
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum Change {
    /// The record under this key was written or removed, by any process.
    Record(Key),
    /// Any record may have changed. For example, the store was flushed, or the subscription was [lost](Self::Lost) and
    /// has been restored.
    Everything,
    /// Every change made before this moment has been reported.
    Heartbeat(Instant),
    /// The subscription broke. Later changes are not reported until [`Everything`](Self::Everything) is.
    Lost(Error),
}

/// A stream of [`Change`]s, returned by [`Backend::subscribe`](crate::Backend::subscribe). Dropping it ends it.
///
/// # Guarantees
///
/// - **No change is missed silently.** Each change made after the subscription was returned is reported, by its key or
///   as [`Everything`](Change::Everything), or no later [`Heartbeat`](Change::Heartbeat) comes. A change may be reported
///   more than once, and several changes of one key in a row as one.
/// - **Order.** A change is reported before the first heartbeat of a later moment.
/// - **Recovery.** A lost subscription is restored by itself as soon as the store is reachable, and then reports
///   `Everything`.
#[async_trait]
pub trait Subscription: fmt::Debug + Send {
    /// Returns the next change, or `None` after the store was closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses no change.
    async fn next(&mut self) -> Option<Change>;
}
