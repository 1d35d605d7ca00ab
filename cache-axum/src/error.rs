//! Cache errors as responses of a handler.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use cache_engine::{LoadError, cache_core};
use http::StatusCode;

/// An error of the cache that a handler returns with `?`.
///
/// | what failed | status |
/// |---|---|
/// | an operation that may succeed later: the store is down, slow or busy | 503 Service Unavailable |
/// | a load that took longer than its [timeout](cache_engine::Policy::load_timeout) | 503 Service Unavailable |
/// | anything else: a wrong key or setting, a value that has no encoding, a loader's own error | 500 Internal Server Error |
///
/// The body is one sentence of plain text. It names neither the store nor the cause, because clients read it. The
/// [extensions](http::Extensions) of the response contain this `Error`, so that a middleware can log the cause.
///
/// Do not return `Result<_, String>` for this: axum sends an `Err(String)` with status 200.
///
/// ```
/// use axum::extract::Path;
/// use cache_axum::{CacheHandle, Error};
///
/// async fn rename(Path(id): Path<u64>, cache: CacheHandle) -> Result<&'static str, Error> {
///     // … change the item, and then:
///     cache.invalidate_tag(format!("item:{id}")).await?;
///     Ok("renamed")
/// }
/// ```
#[derive(Clone)]
pub struct Error {
    status: StatusCode,
    cause: Arc<dyn StdError + Send + Sync>,
}

impl Error {
    /// Returns the status of the response: 503 if the same request may succeed later, 500 otherwise.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn new(is_retryable: bool, cause: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            status: if is_retryable {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            },
            cause: Arc::new(cause),
        }
    }
}

impl From<cache_core::Error> for Error {
    fn from(error: cache_core::Error) -> Self {
        Self::new(error.is_retryable(), error)
    }
}

impl<E: fmt::Display + fmt::Debug + Send + Sync + 'static> From<LoadError<E>> for Error {
    fn from(error: LoadError<E>) -> Self {
        Self::new(matches!(error, LoadError::TimedOut(_)), error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let message = if self.status == StatusCode::SERVICE_UNAVAILABLE {
            "The service is temporarily unavailable.\n"
        } else {
            "An internal error occurred.\n"
        };
        let mut response = (self.status, message).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("status", &self.status)
            .field("cause", &self.cause)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.source()
    }
}
