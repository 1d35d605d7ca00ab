//! What can go wrong, and what a client is told of it.

use std::fmt;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use larder::CallError;

/// An error of the shop.
#[derive(Debug)]
pub enum ShopError {
    /// There is no such thing.
    NotFound,
    /// The database failed.
    Database(sqlx::Error),
    /// Another caller's load of the same thing failed.
    Shared(CallError),
    /// The change is made, but the cache could not be told, so that old pages may be seen for a while.
    NotInvalidated(larder::cache_core::Error),
}

impl fmt::Display for ShopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such thing"),
            Self::Database(_) => f.write_str("the database failed"),
            Self::Shared(_) => f.write_str("loading failed"),
            Self::NotInvalidated(_) => f.write_str("the change is made, but old pages may be seen for a while"),
        }
    }
}

impl std::error::Error for ShopError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotFound => None,
            Self::Database(error) => Some(error),
            Self::Shared(error) => Some(error),
            Self::NotInvalidated(error) => Some(error),
        }
    }
}

impl From<sqlx::Error> for ShopError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// For [`larder::cached`]: what callers get who waited for a load that failed.
impl From<CallError> for ShopError {
    fn from(error: CallError) -> Self {
        Self::Shared(error)
    }
}

/// For [`larder::invalidates`]: what a write returns whose invalidation failed.
impl From<larder::cache_core::Error> for ShopError {
    fn from(error: larder::cache_core::Error) -> Self {
        Self::NotInvalidated(error)
    }
}

/// Clients are told the status and one sentence, and nothing of the database.
impl IntoResponse for ShopError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Database(_) | Self::Shared(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotInvalidated(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}
