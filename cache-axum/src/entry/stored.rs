//! What the cache holds under the key of a request.

use crate::entry::response::StoredResponse;
use crate::entry::variant_index::VariantIndex;

/// What the cache holds under the key of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stored {
    /// A response.
    Response(StoredResponse),
    /// An index that leads to the response that the request selects.
    Index(VariantIndex),
}
