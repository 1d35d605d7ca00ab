//! The conversion of errors of Redis and of fred to the toolkit's.

use cache_core::{Error, ErrorKind};
use fred::error::{Error as FredError, ErrorKind as FredKind};

/// The name of this backend in errors.
pub(crate) const NAME: &str = "redis";

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

/// Returns the error for an answer that the protocol does not define.
pub(crate) fn unexpected(command: &str) -> Error {
    error(ErrorKind::Other, format!("an answer that does not belong to {command}"))
}

/// Converts an error answer of the server: a word in capitals, and a message.
pub(crate) fn from_server(text: &str) -> Error {
    match classify(text) {
        Some((kind, retryable)) => error(kind, text).with_retryable(retryable),
        None => error(ErrorKind::Other, text),
    }
}

/// Returns the error answer of the server that fred has converted, or `None` if the error is fred's own.
pub(crate) fn answer(fred: &FredError) -> Option<&str> {
    if matches!(fred.kind(), FredKind::IO | FredKind::Timeout | FredKind::Canceled) {
        return None;
    }
    let word = fred.details().split_ascii_whitespace().next()?;
    let is_servers = word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    is_servers.then(|| fred.details())
}

/// Converts an error of fred's. Only its text is passed on, so that its type does not become public.
pub(crate) fn from_fred(fred: &FredError) -> Error {
    let text = fred.details();
    // The server's text comes first, since fred's kind of such an error depends on what fred was doing when it read it.
    if let Some((kind, retryable)) = classify(text) {
        return error(kind, text).with_retryable(retryable);
    }
    let kind = match fred.kind() {
        FredKind::Timeout => ErrorKind::Timeout,
        FredKind::Auth => ErrorKind::Auth,
        FredKind::Config | FredKind::Url => ErrorKind::Configuration,
        FredKind::IO
        | FredKind::Canceled
        | FredKind::Cluster
        | FredKind::Routing
        | FredKind::Sentinel
        | FredKind::Backpressure
        // fred's kind if a connection was lost before or while a command was sent.
        | FredKind::Unknown => ErrorKind::Unavailable,
        #[cfg(feature = "rustls")]
        FredKind::Tls => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    };
    error(kind, text.to_owned())
}

/// Returns the kind of an error answer by its first word, and whether a retry can help.
fn classify(text: &str) -> Option<(ErrorKind, bool)> {
    let kind = match text.split_ascii_whitespace().next()? {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => (ErrorKind::Auth, false),
        "OOM" | "MISCONF" | "NOREPLICAS" | "DENIED" => (ErrorKind::Rejected, false),
        // These pass: the server loads its data, a script runs, or another node has become the master.
        "LOADING" | "BUSY" | "READONLY" | "TRYAGAIN" => (ErrorKind::Rejected, true),
        "CLUSTERDOWN" | "MASTERDOWN" => (ErrorKind::Unavailable, true),
        "ERR" if text.contains("max number of clients") => (ErrorKind::Unavailable, true),
        "ERR" if text.contains("AUTH") && text.contains("password") => (ErrorKind::Auth, false),
        "ERR" if text.contains("DB index is out of range") => (ErrorKind::Configuration, false),
        "ERR" if text.contains("exceeds maximum allowed size") => (ErrorKind::TooLarge, false),
        _ => return None,
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_word_decides_the_kind() {
        let cases = [
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                ErrorKind::Rejected,
                false,
            ),
            (
                "READONLY You can't write against a read only replica.",
                ErrorKind::Rejected,
                true,
            ),
            (
                "LOADING Redis is loading the dataset in memory",
                ErrorKind::Rejected,
                true,
            ),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                ErrorKind::Auth,
                false,
            ),
            (
                "NOPERM User x has no permissions to run the 'set' command",
                ErrorKind::Auth,
                false,
            ),
            ("CLUSTERDOWN The cluster is down", ErrorKind::Unavailable, true),
            (
                "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
                ErrorKind::TooLarge,
                false,
            ),
            ("ERR DB index is out of range", ErrorKind::Configuration, false),
            ("ERR unknown command", ErrorKind::Other, false),
        ];
        for (text, kind, retryable) in cases {
            let error = from_server(text);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{text}");
        }
        // Whatever kind fred gave it.
        let wrapped = FredError::new(FredKind::Sentinel, "WRONGPASS invalid username-password pair");
        assert_eq!(from_fred(&wrapped).kind(), ErrorKind::Auth);
    }

    #[test]
    fn answers_of_the_server_are_told_from_errors_of_the_client() {
        for text in [
            "ERR syntax error",
            "OOM command not allowed",
            "WRONGTYPE Operation against a key",
        ] {
            assert_eq!(answer(&FredError::new(FredKind::Unknown, text)), Some(text));
        }
        for text in ["Request timed out.", "No response!", "IO error", ""] {
            assert_eq!(answer(&FredError::new(FredKind::Unknown, text)), None, "{text}");
        }
        assert_eq!(answer(&FredError::new(FredKind::IO, "EOF while reading")), None);
    }

    #[test]
    fn the_clients_errors_have_kinds() {
        for (fred, kind) in [
            (FredKind::Timeout, ErrorKind::Timeout),
            (FredKind::IO, ErrorKind::Unavailable),
            (FredKind::Canceled, ErrorKind::Unavailable),
            (FredKind::Unknown, ErrorKind::Unavailable),
            (FredKind::Config, ErrorKind::Configuration),
            (FredKind::Protocol, ErrorKind::Other),
        ] {
            let error = from_fred(&FredError::new(fred, "text"));
            assert_eq!(error.kind(), kind);
            assert_eq!(error.to_string(), format!("redis: {kind}: text"));
        }
    }
}
