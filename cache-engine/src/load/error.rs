//! How a load can fail.

use std::any::{Any, TypeId};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::Key;

/// Why there is no value.
///
/// All callers who waited for the same load get a clone of the same error, except for a panic: one of them then loads in
/// place of the load that panicked. A store that fails is never the reason: the value is then loaded and not stored.
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader returned this error.
    Failed(Arc<E>),
    /// An earlier load failed and is [remembered](crate::Policy::error_ttl); the loader was not asked again. This is
    /// what is known of the error where the error itself was not kept: the store holds bytes only.
    Remembered(Arc<str>),
    /// The loader panicked with this message.
    Panicked(Arc<str>),
    /// The loader was cancelled after [`Policy::load_timeout`](crate::Policy::load_timeout).
    TimedOut(Duration),
    /// The load asked, itself or through other loads, for the key that it was to load, and would have waited for
    /// itself for ever.
    Circular(Box<Key>),
}

/// Stands for an error that only the caller whose load failed can have, since it can neither be copied nor converted.
#[cfg_attr(not(feature = "macros"), allow(dead_code, unreachable_pub))] // Only functions have such errors.
#[derive(Debug)]
pub struct Unshared;

impl<E: 'static> LoadError<E> {
    /// Whether callers who waited for the load learn nothing by this: one of them loads in place of the one that
    /// failed.
    pub(crate) fn is_retried(&self) -> bool {
        matches!(self, Self::Panicked(_)) || self.is_unshared()
    }

    /// Whether this stands for an error that nobody else can have.
    pub(crate) fn is_unshared(&self) -> bool {
        matches!(self, Self::Failed(_)) && TypeId::of::<E>() == TypeId::of::<Unshared>()
    }
}

impl<E> LoadError<E> {
    /// The loader's own error, if that is the reason.
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
            // By the caller's own format, so that `{:#}` reaches those errors that make something of it.
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
    /// The source of the loader's error, which this error prints as.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.loader_error().and_then(|error| error.source())
    }
}

// Not bound to `E: Error`, so that `?` works for loaders with an `anyhow::Error` or a text.
impl<E: fmt::Display + fmt::Debug + 'static> Error for LoadError<E> {
    /// Returns the source of the loader's error, where that is a boxed one, an I/O error, a store's, or the error of a
    /// `#[cached]` function.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let error: &dyn Any = &**self.loader_error()?;
        if let Some(error) = error.downcast_ref::<Box<dyn Error + Send + Sync>>() {
            return error.source();
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.source();
        }
        #[cfg(feature = "macros")]
        if let Some(error) = error.downcast_ref::<crate::load::shared_error::SharedError>() {
            return error.source();
        }
        error.downcast_ref::<cache_core::Error>()?.source()
    }
}
