//! What goes wrong with a server, and what it is called in the toolkit.

use std::io;
use std::time::Duration;

use cache_core::{Error, ErrorKind};

/// The name of this backend in errors.
pub(crate) const NAME: &str = "memcached";

/// An error of this backend.
pub(crate) fn error(kind: ErrorKind, message: impl Into<String>) -> Error {
    Error::new(kind, message.into()).with_backend(NAME)
}

/// An error of the options or of the URL.
pub(crate) fn configuration(message: impl Into<String>) -> Error {
    error(ErrorKind::Configuration, message)
}

/// What a call on a closed handle gets.
pub(crate) fn closed() -> Error {
    error(ErrorKind::Unavailable, "the handle was closed").with_retryable(false)
}

/// What went wrong on the way to one server.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No connection was to be had, or it broke.
    Io(io::Error),
    /// A connection was not made in time.
    ConnectTimeout(Duration),
    /// The server's own words, which begin with `ERROR`, `CLIENT_ERROR` or `SERVER_ERROR`.
    Answer(String),
    /// An answer that does not belong to the question.
    OutOfStep(String),
    /// All connections were in use for as long as the caller waits.
    Busy,
    /// Others wrote the record again and again between our read and our write.
    Contended,
    /// The server gives no tokens for compare-and-swap.
    NoCas,
    /// The handle was closed.
    Closed,
}

impl Fault {
    /// Whether the server, or the way to it, seems to be broken. A refusal is a sign of life.
    pub(crate) fn blames_server(&self) -> bool {
        matches!(self, Self::Io(_) | Self::ConnectTimeout(_) | Self::OutOfStep(_))
    }

    /// The error that the caller gets.
    pub(crate) fn into_error(self, server: &str) -> Error {
        match self {
            Self::Io(source) => error(ErrorKind::Unavailable, format!("{server}: {source}")).with_source(source),
            Self::ConnectTimeout(limit) => {
                error(ErrorKind::Timeout, format!("{server}: no connection within {limit:?}"))
            }
            Self::Answer(text) => {
                let (kind, retryable) = classify(&text);
                error(kind, format!("{server}: {text}")).with_retryable(retryable)
            }
            Self::OutOfStep(what) => error(
                ErrorKind::Unavailable,
                format!("{server}: {what}; the connection is given up"),
            ),
            Self::Busy => error(ErrorKind::Timeout, format!("{server}: all connections are in use")),
            Self::Contended => error(
                ErrorKind::Conflict,
                format!("{server}: others keep writing this record"),
            ),
            Self::NoCas => configuration(format!(
                "{server} has compare-and-swap switched off: start memcached without -C"
            )),
            Self::Closed => closed(),
        }
    }
}

/// The kind of an error that the server names in words, and whether a retry can help.
fn classify(text: &str) -> (ErrorKind, bool) {
    let text = text.to_ascii_lowercase();
    if text.contains("too large") {
        (ErrorKind::TooLarge, false)
    } else if text.contains("out of memory") {
        (ErrorKind::Rejected, true)
    } else if text.contains("too many open connections") {
        (ErrorKind::Unavailable, true)
    } else if text.contains("authenticat") {
        (ErrorKind::Auth, false)
    } else {
        (ErrorKind::Rejected, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_decide_the_kind() {
        for (text, kind, retryable) in [
            ("SERVER_ERROR object too large for cache", ErrorKind::TooLarge, false),
            ("SERVER_ERROR out of memory storing object", ErrorKind::Rejected, true),
            ("ERROR Too many open connections", ErrorKind::Unavailable, true),
            ("CLIENT_ERROR unauthenticated", ErrorKind::Auth, false),
            ("CLIENT_ERROR bad command line format", ErrorKind::Rejected, false),
        ] {
            let error = Fault::Answer(text.to_owned()).into_error("a:1");
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{text}");
        }
        let error = Fault::Io(io::Error::other("reset")).into_error("a:1");
        assert_eq!(error.to_string(), "memcached: unavailable: a:1: reset");
        assert!(error.is_retryable() && !closed().is_retryable());
    }
}
