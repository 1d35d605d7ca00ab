//! What the layer adds to a request for the handler.

use std::sync::Arc;

use http::{Request, Uri};

use crate::request::shared::Shared;

/// What the layer adds to the extensions of a request.
#[derive(Clone)]
pub(crate) struct LayerHandle {
    pub(crate) shared: Arc<Shared>,
    /// The URI as the layer and its key builders saw it.
    pub(crate) uri: Uri,
}

impl LayerHandle {
    pub(crate) fn leave<B>(shared: &Arc<Shared>, request: &mut Request<B>) {
        let handle = Self {
            shared: Arc::clone(shared),
            uri: request.uri().clone(),
        };
        request.extensions_mut().insert(handle);
    }
}
