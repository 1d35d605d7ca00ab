//! The outcome of a request.

use axum::body::Body;
use http::Response;

/// The outcome of a request: the one event that it is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    Stale,
    Miss,
    Outage,
    Bypass,
}

impl Outcome {
    /// Returns the outcome as the value of the attribute `cache.request.type`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Outage => "outage",
            Self::Bypass => "bypass",
        }
    }
}

/// The response to a request, and its outcome. There is none if a layer around this one counts the request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) response: Response<Body>,
    pub(crate) outcome: Option<Outcome>,
}

impl Answered {
    pub(crate) fn new(response: Response<Body>, outcome: Outcome) -> Self {
        Self {
            response,
            outcome: Some(outcome),
        }
    }
}
