//! The errors of the shop, and the responses that clients get for them.

use std::fmt;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use larder::CallError;

/// An error of the shop.
#[derive(Debug)]
pub enum ShopError {
    /// The requested thing does not exist.
    NotFound,
    /// The database failed.
    Database(sqlx::Error),
    /// The system has no random numbers.
    Random(getrandom::Error),
    /// A load that another caller started failed.
    Shared(CallError),
    /// The change was made, but the cache could not be invalidated, so old pages may be served for a while.
    NotInvalidated(larder::cache_core::Error),
}

impl fmt::Display for ShopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such thing"),
            Self::Database(_) => f.write_str("the database failed"),
            Self::Random(_) => f.write_str("no token could be made"),
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
            Self::Random(error) => Some(error),
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

impl From<getrandom::Error> for ShopError {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

/// For [`larder::cached`]: the error of callers that waited for a load that failed.
impl From<CallError> for ShopError {
    fn from(error: CallError) -> Self {
        Self::Shared(error)
    }
}

/// For [`larder::invalidates`]: the error of a write whose invalidation failed.
impl From<larder::cache_core::Error> for ShopError {
    fn from(error: larder::cache_core::Error) -> Self {
        Self::NotInvalidated(error)
    }
}

/// Clients get the status and one sentence, without details of the database.
impl IntoResponse for ShopError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Database(_) | Self::Random(_) | Self::Shared(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotInvalidated(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}
