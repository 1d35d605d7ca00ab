//! What the server replies to a command.

use bytes::Bytes;
use fred::error::Error;

#[derive(Debug)]
pub(crate) enum Reply {
    String(Option<Bytes>),
    /// An error answer.
    Error(String),
}

/// A reply, or why there is none.
pub(crate) type Answer = Result<Reply, Error>;
