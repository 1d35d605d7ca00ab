//! What the cache holds under the key of a request.

use std::any::Any;

use crate::entry::response::StoredResponse;
use crate::entry::variant_index::VariantIndex;
use crate::key::routing::Routing;

/// What the cache holds under the key of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stored {
    /// A response.
    Response(StoredResponse),
    /// An index that leads to the response that the request selects.
    Index(VariantIndex),
}

impl Stored {
    /// Returns the route of the request that led to this.
    #[inline]
    pub(crate) fn routing(&self) -> Routing {
        match self {
            Self::Response(response) => response.routing,
            Self::Index(variants) => variants.routing,
        }
    }

    /// Returns whether a value of the cache is a response. An index is not loaded, so it is not refreshed.
    pub(crate) fn is_response(value: &dyn Any) -> bool {
        matches!(value.downcast_ref(), Some(Self::Response(_)))
    }
}
