//! How a load can fail.

use std::any::{Any, TypeId};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::Key;

/// Why there is no value.
///
/// All callers that waited for the same load get a clone of the same error, except for a panic: after that, one of them
/// loads instead. A store that fails is never the reason: the value is then loaded and not stored.
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader returned this error.
    Failed(Arc<E>),
    /// An earlier load failed and is [remembered](crate::Policy::error_ttl), so the loader was not called again. This
    /// is the error's text, for a store that holds bytes only and therefore not the error itself.
    Remembered(Arc<str>),
    /// The loader panicked with this message.
    Panicked(Arc<str>),
    /// The loader was cancelled after [`Policy::load_timeout`](crate::Policy::load_timeout).
    TimedOut(Duration),
    /// The load requested the key that it was to load, itself or through other loads. It would have waited for itself
    /// for ever.
    Circular(Box<Key>),
}

/// A placeholder for an error that only the caller whose load failed can have, because it can neither be cloned nor
/// converted.
#[cfg_attr(not(feature = "functions"), allow(dead_code, unreachable_pub))] // Only functions have such errors.
#[derive(Debug)]
pub struct Unshared;

impl<E: 'static> LoadError<E> {
    /// Returns whether the error means nothing to the callers that waited for the load. One of them then loads instead.
    pub(crate) fn is_retried(&self) -> bool {
        matches!(self, Self::Panicked(_)) || self.is_unshared()
    }

    /// Returns whether this is a placeholder for an error that no other caller can have.
    pub(crate) fn is_unshared(&self) -> bool {
        matches!(self, Self::Failed(_)) && TypeId::of::<E>() == TypeId::of::<Unshared>()
    }
}

impl<E> LoadError<E> {
    /// Returns the loader's own error, if that is the reason.
    #[must_use]
    pub fn loader_error(&self) -> Option<&Arc<E>> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Remembered(message) => Self::Remembered(Arc::clone(message)),
            Self::Panicked(message) => Self::Panicked(Arc::clone(message)),
            Self::TimedOut(after) => Self::TimedOut(*after),
            Self::Circular(key) => Self::Circular(key.clone()),
        }
    }
}

impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Passes on the caller's format options, so that `{:#}` works for errors that support it.
            Self::Failed(error) => error.fmt(f),
            Self::Remembered(message) => {
                write!(f, "the load failed a moment ago and is not tried again yet: {message}")
            }
            Self::Panicked(message) => write!(f, "the load panicked: {message}"),
            Self::TimedOut(after) => write!(f, "the load took longer than {after:?}"),
            Self::Circular(key) => write!(f, "the load of {:?} asks for its own key", key.as_str()),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            Self::Remembered(message) => f.debug_tuple("Remembered").field(message).finish(),
            Self::Panicked(message) => f.debug_tuple("Panicked").field(message).finish(),
            Self::TimedOut(after) => f.debug_tuple("TimedOut").field(after).finish(),
            Self::Circular(key) => f.debug_tuple("Circular").field(key).finish(),
        }
    }
}

impl<E: Error + 'static> LoadError<E> {
    /// Returns the source of the loader's error, because this error prints as the loader's error itself.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.loader_error().and_then(|error| error.source())
    }
}

// Without the bound `E: Error`, so that `?` works for loaders with an `anyhow::Error` or a text.
impl<E: fmt::Display + fmt::Debug + 'static> Error for LoadError<E> {
    /// Returns the source of the loader's error, if that error is a boxed one, an I/O error, a store's error, or the
    /// error of a `#[cached]` function.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let error: &dyn Any = &**self.loader_error()?;
        if let Some(error) = error.downcast_ref::<Box<dyn Error + Send + Sync>>() {
            return error.source();
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.source();
        }
        #[cfg(feature = "functions")]
        if let Some(error) = error.downcast_ref::<crate::load::shared_error::SharedError>() {
            return error.source();
        }
        error.downcast_ref::<cache_core::Error>()?.source()
    }
}
