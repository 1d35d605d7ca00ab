//! What the server replies to a command.

use bytes::Bytes;
use fred::error::Error;
use fred::types::Resp3Frame;

#[derive(Debug)]
pub(crate) enum Reply {
    String(Option<Bytes>),
    /// An error answer.
    Error(String),
}

/// A reply, or why there is none.
pub(crate) type Answer = Result<Reply, Error>;

/// Returns the text of an error answer.
pub(crate) fn error_text(frame: &Resp3Frame) -> Option<String> {
    match frame {
        Resp3Frame::SimpleError { data, .. } => Some(data.to_string()),
        Resp3Frame::BlobError { data, .. } => Some(String::from_utf8_lossy(data).into_owned()),
        _ => None,
    }
}
