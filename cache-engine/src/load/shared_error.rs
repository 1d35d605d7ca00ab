//! The error of a load that several callers share.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The error of a load of a `#[cached]` function, shared among the callers that waited for the load. It prints as the
/// error itself does, by `{}`, `{:#}` and `{:?}`.
#[derive(Clone)]
pub struct SharedError(Arc<dyn Original>);

/// An error, or what is known of it.
pub(crate) trait Original: Any + Send + Sync {
    fn display(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// The error itself.
    fn as_any(&self) -> Option<&dyn Any>;

    fn as_error(&self) -> Option<&(dyn Error + 'static)>;
}

impl SharedError {
    pub(crate) fn new(original: impl Original) -> Self {
        Self(Arc::new(original))
    }

    /// Returns the error, if it is of type `T`: the error type of the function that failed. Also returns `None` if only
    /// the error's text is shared, because the error cannot be sent to other threads.
    #[must_use]
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        self.0.as_any()?.downcast_ref()
    }

    /// Returns the original as an [`Error`], if it is one or holds one.
    pub(crate) fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_error()
    }

    /// Returns the original, if it is a `T` and nobody else holds it.
    pub(crate) fn into_original<T: Original>(self) -> Result<T, Self> {
        let kept: Arc<dyn Any + Send + Sync> = Arc::clone(&self.0) as _;
        match kept.downcast::<T>() {
            Ok(kept) => {
                drop(self);
                Arc::try_unwrap(kept).map_err(|kept| Self(kept))
            }
            Err(_) => Err(self),
        }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display(f)
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug(f)
    }
}

impl Error for SharedError {
    /// Returns the source of the original error, because this one prints as the original itself.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.as_error()?.source()
    }
}
