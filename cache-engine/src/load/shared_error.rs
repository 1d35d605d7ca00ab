//! The error of a load, as several callers share it.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::load::error::LoadError;

/// The error of a load of a `#[cached]` function, as it is shared among the callers who waited for it. It prints as the
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

    /// Returns the error, if it is of type `T`: the error type of the function that failed. `None` also where the error
    /// itself was not kept, since it cannot be sent to other threads.
    #[must_use]
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        self.0.as_any()?.downcast_ref()
    }

    /// Takes the original out, if it is a `T` and nobody else holds it.
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
    /// Returns the source of the error that this one prints as.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_error()?.source()
    }
}

impl LoadError<SharedError> {
    /// Returns the function's own error, if the load failed with one. `T` is the function's error type.
    #[must_use]
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        self.loader_error()?.downcast_ref()
    }

    /// Looks for an error of type `T`: `error` itself, one of its sources, or one of those of a load's error that
    /// several callers share. Tells callers of a failed load the same, whether or not they share its error.
    ///
    /// ```
    /// use cache_engine::{Cache, CallError, cached};
    /// use cache_memory::MemoryBackend;
    ///
    /// #[derive(Debug)]
    /// struct NotFound;
    /// # impl std::fmt::Display for NotFound { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("not found") } }
    /// # impl std::error::Error for NotFound {}
    ///
    /// #[cached(cache = cache, skip(cache))]
    /// async fn user(cache: &Cache, id: u64) -> anyhow::Result<String> {
    ///     Err(anyhow::Error::new(NotFound).context(format!("user {id}")))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let cache = Cache::builder(MemoryBackend::default()).build();
    /// let (one, other) = tokio::join!(user(&cache, 7), user(&cache, 7));
    /// for error in [one.unwrap_err(), other.unwrap_err()] {
    ///     assert!(CallError::find::<NotFound>(&*error).is_some());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<T>() {
                return Some(found);
            }
            let shared = match error.downcast_ref::<Self>() {
                Some(error) => error.loader_error().map(|shared| &**shared),
                None => error.downcast_ref::<SharedError>(),
            };
            next = match shared {
                Some(shared) => shared.0.as_error(),
                None => error.source(),
            };
        }
        None
    }
}
