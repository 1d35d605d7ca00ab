//! What the layer leaves in a request for the handler.

use std::sync::Arc;

use http::{Request, Uri};

use crate::request::shared::Shared;

/// What the layer leaves in the extensions of a request.
#[derive(Clone)]
pub(crate) struct LayerHandle {
    pub(crate) shared: Arc<Shared>,
    /// As the layer saw it, and the builders of its keys.
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
