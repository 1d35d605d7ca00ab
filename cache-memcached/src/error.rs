//! The faults of a server, and how they map to the toolkit's errors.

use std::fmt;
use std::io;
use std::time::Duration;

use cache_core::{Error, ErrorKind};

/// The name of this backend in errors.
pub(crate) const NAME: &str = "memcached";

/// Returns an error of this backend.
pub(crate) fn error(kind: ErrorKind, message: impl Into<String>) -> Error {
    Error::new(kind, message.into()).with_backend(NAME)
}

/// Returns an error of a setting or the URL.
pub(crate) fn configuration(message: impl Into<String>) -> Error {
    error(ErrorKind::Configuration, message)
}

/// Returns the error of a call on a closed handle.
pub(crate) fn closed() -> Error {
    error(ErrorKind::Unavailable, "the handle was closed").with_retryable(false)
}

/// The fault of one call to one server.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Connecting failed, or the connection broke.
    Io(io::Error),
    /// The connection ended, which another call on it reports, so that it counts once.
    Lost(io::Error),
    /// A server that has never answered closed the connection.
    HungUp(io::Error),
    /// Connecting timed out.
    ConnectTimeout(Duration),
    /// An error answer of the server, which begins with `ERROR`, `CLIENT_ERROR` or `SERVER_ERROR`.
    Answer(String),
    /// An answer that does not belong to the command.
    OutOfStep(String),
    /// The server sent nothing for this long, while a command waited for its answer.
    Silent(Duration),
    /// Too many commands wait to be sent.
    Busy,
    /// Other writers kept replacing the record between our read and our write.
    Contended,
    /// The server runs without compare-and-swap (`-C`).
    NoCas,
    /// The list of servers has changed, and the call may have gone to the wrong one.
    Moved,
    /// The handle was closed.
    Closed,
}

impl Fault {
    /// Returns whether the fault counts against the server's health. A refusal does not, since the server answered.
    pub(crate) fn blames_server(&self) -> bool {
        matches!(
            self,
            Self::Io(_) | Self::HungUp(_) | Self::ConnectTimeout(_) | Self::OutOfStep(_)
        )
    }

    /// Returns the fault of the next call that waits on the same connection, which has ended.
    pub(crate) fn of_the_next(&self) -> Self {
        match self {
            Self::Io(source) | Self::Lost(source) => Self::Io(io::Error::new(source.kind(), source.to_string())),
            Self::Silent(limit) => Self::Silent(*limit),
            // All need the same remedy.
            Self::Answer(text) if classify(text).0 == ErrorKind::Auth => Self::Answer(text.clone()),
            Self::Answer(text) | Self::OutOfStep(text) => {
                let text = format!("the connection was closed after another call: {text}");
                Self::Io(io::Error::new(io::ErrorKind::ConnectionAborted, text))
            }
            _ => Self::Io(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Returns the fault of a call that waits for its answer on a connection which has ended, if another call reports the
    /// end.
    pub(crate) fn of_a_bystander(&self) -> Self {
        match self.of_the_next() {
            Self::Io(source) => Self::Lost(source),
            fault => fault,
        }
    }

    /// Returns the fault as that of a server which has never answered before.
    pub(crate) fn at_first(self) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match self {
            Self::Io(source)
                if matches!(
                    source.kind(),
                    BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
                ) =>
            {
                Self::HungUp(source)
            }
            fault => fault,
        }
    }

    /// Converts the fault to the error that the caller gets.
    pub(crate) fn into_error(self, server: &str) -> Error {
        match self {
            Self::Io(source) | Self::Lost(source) => {
                error(ErrorKind::Unavailable, format!("{server}: {source}")).with_source(source)
            }
            Self::HungUp(source) => {
                let message = format!(
                    "{server}: {source}, before the server has ever answered: it may expect TLS (memcacheds://), or a \
                     client certificate"
                );
                error(ErrorKind::Unavailable, message).with_source(source)
            }
            Self::ConnectTimeout(limit) => {
                error(ErrorKind::Timeout, format!("{server}: no connection within {limit:?}"))
            }
            Self::Answer(text) => {
                let (kind, retryable) = classify(&text);
                error(kind, format!("{server}: {text}")).with_retryable(retryable)
            }
            Self::OutOfStep(what) => error(
                ErrorKind::Unavailable,
                format!("{server}: {what}; the connection is closed"),
            ),
            Self::Silent(limit) => error(ErrorKind::Timeout, format!("{server}: no answer within {limit:?}")),
            // It says nothing about the server, which answers other calls.
            Self::Busy => {
                error(ErrorKind::Rejected, format!("{server}: too many calls are in flight")).with_retryable(true)
            }
            Self::Contended => error(
                ErrorKind::Conflict,
                format!("{server}: other writers keep replacing this record"),
            ),
            Self::NoCas => configuration(format!(
                "{server} has compare-and-swap switched off: start memcached without -C"
            )),
            Self::Moved => error(
                ErrorKind::Unavailable,
                format!("{server}: the list of servers has changed, and is being read again"),
            )
            .with_source(Moved),
            Self::Closed => closed(),
        }
    }
}

/// Marks the error of a call that did nothing, since the list of servers has changed.
#[derive(Debug)]
struct Moved;

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server does not belong to the list of servers that this process uses")
    }
}

impl std::error::Error for Moved {}

/// Returns whether a call did nothing, since the list of servers has changed.
pub(crate) fn has_moved(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<Moved>)
}

/// Returns the kind of an error answer, and whether a retry can help.
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
