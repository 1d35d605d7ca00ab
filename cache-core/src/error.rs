//! The one error type of the toolkit.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The kind of an [`Error`], in terms that do not depend on the store.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The store did not answer in time. The operation may have been carried out or not.
    Timeout,
    /// The store cannot be reached, or the backend was closed.
    Unavailable,
    /// The store understood the operation and refused it: out of memory, throttled, read-only, or not supported. Or the
    /// backend did, since too many calls are under way. If it soon passes, the error is
    /// [retryable](Error::is_retryable).
    Rejected,
    /// The value is larger than the store allows.
    TooLarge,
    /// The store does not allow the key.
    InvalidKey,
    /// A value has no encoding, or bytes could not be decoded.
    Codec,
    /// Other writers were faster, and the backend cannot repeat the operation by itself.
    Conflict,
    /// The store refused the credentials.
    Auth,
    /// An option or a URL is wrong; nothing was sent.
    Configuration,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Returns the kind in lower case, as it appears in messages and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
            Self::TooLarge => "too large",
            Self::InvalidKey => "invalid key",
            Self::Codec => "codec",
            Self::Conflict => "conflict",
            Self::Auth => "auth",
            Self::Configuration => "configuration",
            Self::Other => "other",
        }
    }

    /// Returns whether the same call may succeed later, unless [`Error::with_retryable`] says otherwise.
    const fn is_transient(self) -> bool {
        matches!(self, Self::Timeout | Self::Unavailable | Self::Conflict)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of a cache operation.
///
/// It carries a [kind](ErrorKind), the operation and the backend where they are known, whether a retry can help, and
/// the error that caused it. Clones share the cause.
///
/// ```
/// use cache_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::TooLarge, "2 MiB, and the store takes 1 MiB")
///     .with_backend("memcached")
///     .with_operation("set");
/// assert_eq!(error.to_string(), "memcached set: too large: 2 MiB, and the store takes 1 MiB");
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone)]
pub struct Error(Box<Repr>);

#[derive(Clone)]
struct Repr {
    kind: ErrorKind,
    operation: Option<&'static str>,
    backend: Option<Cow<'static, str>>,
    message: Cow<'static, str>,
    retryable: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of `kind`. The message should name the input at fault and, if there is one, the remedy.
    ///
    /// The error is retryable if its kind is [`Timeout`](ErrorKind::Timeout), [`Unavailable`](ErrorKind::Unavailable) or
    /// [`Conflict`](ErrorKind::Conflict); see [`with_retryable`](Self::with_retryable).
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Repr {
            kind,
            operation: None,
            backend: None,
            message: message.into(),
            retryable: kind.is_transient(),
            source: None,
        }))
    }

    /// Sets the operation, for example `"get"`, unless it is set already.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Sets the backend, for example `"redis"`, unless it is set already.
    #[must_use]
    pub fn with_backend(mut self, backend: impl Into<Cow<'static, str>>) -> Self {
        if self.0.backend.is_none() {
            self.0.backend = Some(backend.into());
        }
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Sets whether the same call may succeed later.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the operation that failed, if it is known.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// Returns the backend that reported the error, if it is known.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }

    /// Returns the message without backend, operation and kind.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr {
            kind,
            operation,
            backend,
            message,
            ..
        } = &*self.0;
        match (backend, operation) {
            (Some(backend), Some(operation)) => write!(f, "{backend} {operation}: ")?,
            (Some(one), None) => write!(f, "{one}: ")?,
            (None, Some(one)) => write!(f, "{one}: ")?,
            (None, None) => {}
        }
        if message.is_empty() {
            write!(f, "{kind}")
        } else {
            write!(f, "{kind}: {message}")
        }
    }
}

/// One line with the causes, since a `main` that returns the error prints it by this. A cause that the line says already is
/// left out. `{:#?}` shows the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            let mut line = self.to_string();
            let mut source = self.source();
            while let Some(cause) = source {
                let text = cause.to_string();
                if !line.contains(&text) {
                    line.push_str(": ");
                    line.push_str(&text);
                }
                source = cause.source();
            }
            return f.write_str(&line);
        }
        let Repr {
            kind,
            operation,
            backend,
            message,
            retryable,
            source,
        } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("operation", operation)
            .field("backend", backend)
            .field("message", message)
            .field("retryable", retryable)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_it_happened_and_keeps_the_cause() {
        let error = Error::new(ErrorKind::Timeout, "no answer within 250 ms")
            .with_source(std::io::Error::other("reset"))
            .with_operation("get")
            .with_backend("redis")
            .with_operation("outer");
        assert_eq!(error.to_string(), "redis get: timeout: no answer within 250 ms");
        assert_eq!(error.source().map(ToString::to_string), Some("reset".to_owned()));
        assert!(error.is_retryable() && error.clone().operation() == Some("get"));
    }

    #[test]
    fn debug_is_one_line_with_each_cause_once() {
        let reset = || std::io::Error::other("reset");
        let inner = Error::new(ErrorKind::Unavailable, "lost").with_source(reset());
        let error = Error::new(ErrorKind::Other, "redb failed").with_source(inner);
        assert_eq!(format!("{error:?}"), "other: redb failed: unavailable: lost: reset");
        let error = Error::new(ErrorKind::Other, "redb failed: reset").with_source(reset());
        assert_eq!(format!("{error:?}"), "other: redb failed: reset");
    }
}
