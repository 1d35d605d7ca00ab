//! What an exchange needs to know of its request.

use cache_engine::cache_core::Timestamp;
use cache_http::RequestDirectives;
use http::{HeaderMap, Method};

/// What a load needs to know of the request that it answers.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// The request's identity is part of its key.
    pub(crate) is_identified: bool,
    /// It may wait for the answer to another one, or be waited for.
    pub(crate) may_collapse: bool,
    pub(crate) directives: RequestDirectives,
    /// When the handler was asked.
    pub(crate) forwarded_at: Timestamp,
}
