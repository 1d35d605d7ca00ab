//! How a store tells of changes to its records.

use std::fmt;
use std::time::Instant;

use async_trait::async_trait;

use crate::{Error, Key};

/// What a store tells of changes to the records in a [`Scope`](crate::Scope).
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum Change {
    /// The record under this key was written or removed, by whomever.
    Record(Key),
    /// Any record may have changed: the store was flushed, say, or the stream was [lost](Self::Lost) and has come back.
    Everything,
    /// Every change that was made before this moment has been told of.
    Heartbeat(Instant),
    /// The stream broke. What changes from now on is not told of, until [`Everything`](Self::Everything) is said.
    Lost(Error),
}

/// A stream of [`Change`]s, from [`Backend::subscribe`](crate::Backend::subscribe). Dropping it ends it.
///
/// # What it keeps to
///
/// - **Nothing is missed in silence.** Each change after the stream was handed out is told of, by its key or as
///   everything, or a later [`Heartbeat`](Change::Heartbeat) never comes. A change may be told of more than once, and
///   changes of one key in a row as one.
/// - **Order.** A change is told of before the first `Heartbeat` of a later moment.
/// - **It mends itself.** A stream that was lost comes back by itself as soon as the store does, and then says that
///   everything may have changed.
#[async_trait]
pub trait Subscription: fmt::Debug + Send {
    /// The next notice; `None` after the store was closed.
    ///
    /// Dropping the future loses no notice.
    async fn next(&mut self) -> Option<Change>;
}
