//! Errors of a call that are not the function's own, and how several callers share one error.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

use super::return_type::describe::Describe;
use crate::load::error::LoadError;
use crate::load::shared_error::{Original, SharedError};

/// Why a call of a `#[cached]` function has no value, if the function cannot return its own error: several callers
/// share one failed load, and the error is not `Clone`; or the load took too long, was not retried yet, or needs its
/// own key.
///
/// If a function's error type is `Clone`, all callers that waited for a failed load get a clone of its error. If it is
/// not, but implements `From<CallError>` (as `anyhow::Error` and `Box<dyn Error + Send + Sync>` already do), each of
/// them gets an error created from the same `CallError`, which [holds the error itself](LoadError::downcast_ref):
///
/// ```
/// use cache_engine::CallError;
///
/// #[derive(Debug)]
/// enum ShopError {
///     NotFound,
///     Database(std::io::Error),
///     /// The load failed, and other callers have the error too; or the load could not be waited for.
///     Cache(CallError),
/// }
///
/// impl From<CallError> for ShopError {
///     fn from(error: CallError) -> Self {
///         match error.downcast_ref::<Self>() {
///             Some(Self::NotFound) => Self::NotFound,
///             _ => Self::Cache(error),
///         }
///     }
/// }
/// # let _ = ShopError::Database;
/// ```
///
/// [`find`](LoadError::find) looks for an error of one type in any error, whether it is shared or not.
pub type CallError = LoadError<SharedError>;

impl LoadError<SharedError> {
    /// Returns the function's own error, if the load failed with one. `T` is the function's error type.
    #[must_use]
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        self.loader_error()?.downcast_ref()
    }

    /// Finds an error of type `T`: `error` itself, one of its sources, or one of the sources of a load's error that
    /// several callers share. The callers of a failed load get the same answer, whether or not they share its error.
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
                Some(shared) => shared.as_error(),
                None => error.source(),
            };
        }
        None
    }
}

/// An error, and how to describe it.
struct Whole<E, D>(E, PhantomData<fn() -> D>);

impl<E: Send + Sync + 'static, D: Describe<E>> Original for Whole<E, D> {
    fn display(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        D::display(&self.0, f)
    }

    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        D::debug(&self.0, f)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(&self.0)
    }

    fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        D::as_error(&self.0)
    }
}

/// The output of an error that cannot be sent to other threads.
struct Texts {
    display: Box<str>,
    alternate: Box<str>,
    debug: Box<str>,
}

impl Original for Texts {
    fn display(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if f.alternate() { &self.alternate } else { &self.display })
    }

    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.debug)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        None
    }

    fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        None
    }
}

/// Prints an error by its description.
struct Printed<'a, E, D>(&'a E, PhantomData<D>);

impl<E, D: Describe<E>> fmt::Display for Printed<'_, E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        D::display(self.0, f)
    }
}

impl<E, D: Describe<E>> fmt::Debug for Printed<'_, E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        D::debug(self.0, f)
    }
}

/// Shares an error.
pub(super) fn share_whole<E: Send + Sync + 'static, D: Describe<E>>(error: E) -> SharedError {
    SharedError::new(Whole::<E, D>(error, PhantomData))
}

/// Shares the output of an error.
pub(super) fn share_text<E, D: Describe<E>>(error: &E) -> SharedError {
    let error = Printed(error, PhantomData::<D>);
    SharedError::new(Texts {
        display: format!("{error}").into(),
        alternate: format!("{error:#}").into(),
        debug: format!("{error:?}").into(),
    })
}

/// Returns the error from what [`share_whole`] returned, if nobody else holds it.
pub(super) fn reclaim<E: Send + Sync + 'static, D: Describe<E>>(shared: SharedError) -> Result<E, SharedError> {
    shared.into_original::<Whole<E, D>>().map(|whole| whole.0)
}
