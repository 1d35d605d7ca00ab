//! What an exchange needs to know about its request.

use cache_engine::cache_core::Timestamp;
use cache_http::RequestDirectives;
use http::{HeaderMap, Method};

use crate::entry::variant_index::Selecting;
use crate::key::routing::Routing;

/// What a load needs to know about the request that it answers.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// The query, if it selects among the responses of the key.
    pub(crate) query: Option<Box<str>>,
    /// The route that serves the request.
    pub(crate) routing: Routing,
    /// Whether the request's identity is part of its key.
    pub(crate) is_identified: bool,
    /// Whether the request may wait for the response to another request, and other requests for its response.
    pub(crate) may_collapse: bool,
    pub(crate) directives: RequestDirectives,
    /// When the handler was called.
    pub(crate) forwarded_at: Timestamp,
}

impl RequestContext {
    /// Returns what the request selects a variant by.
    pub(crate) fn selecting(&self) -> Selecting<'_> {
        Selecting {
            headers: &self.headers,
            query: self.query.as_deref(),
            routing: self.routing,
        }
    }
}
