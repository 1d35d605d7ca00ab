//! Errors of a call that are not the function's own.

use std::fmt;
use std::sync::Arc;

use crate::load::error::LoadError;

/// Why a call of a `#[cached]` function has no value, where the function's own error cannot be had: the call waited
/// for a load of another caller, who has the error; or the load took too long, was not tried again so soon, or asks
/// for its own key.
///
/// A function's error type that can be made of it (by `From`; `anyhow::Error` and `Box<dyn Error + Send + Sync>` can
/// already) lets all who wait share one failed load.
///
/// ```
/// use cache_engine::CallError;
///
/// #[derive(Debug)]
/// enum ShopError {
///     Database(std::io::Error),
///     /// Another caller's load failed, or could not be waited for.
///     Cache(CallError),
/// }
///
/// impl From<CallError> for ShopError {
///     fn from(error: CallError) -> Self {
///         Self::Cache(error)
///     }
/// }
/// # let _ = ShopError::Database;
/// # impl std::fmt::Display for ShopError { fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
/// ```
pub type CallError = LoadError<SharedError>;

/// What another caller's error says: it prints as that error does, by `{}`, `{:#}` and `{:?}`.
#[derive(Clone)]
pub struct SharedError(Arc<Texts>);

struct Texts {
    display: Box<str>,
    alternate: Box<str>,
    debug: Box<str>,
}

impl SharedError {
    pub(super) fn of<E: fmt::Display + fmt::Debug>(error: &E) -> Self {
        Self(Arc::new(Texts {
            display: format!("{error}").into(),
            alternate: format!("{error:#}").into(),
            debug: format!("{error:?}").into(),
        }))
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if f.alternate() {
            &self.0.alternate
        } else {
            &self.0.display
        })
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.debug)
    }
}

impl std::error::Error for SharedError {}
