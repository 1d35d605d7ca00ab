//! Layers within other layers.

use cache_engine::cache_core::Key;
use http::Extensions;

/// The keys whose responses the handler is loading, stored in the extensions of a request to the handler.
///
/// A layer with the same key within the loading one would find an outdated response, or wait for that same load and so
/// for itself. It lets the request through instead.
#[derive(Debug, Clone, Default)]
pub(crate) struct NestedLoads(Vec<Key>);

impl NestedLoads {
    pub(crate) fn contain(request: &Extensions, key: &Key) -> bool {
        request.get::<Self>().is_some_and(|loading| loading.0.contains(key))
    }

    pub(crate) fn add(request: &mut Extensions, key: &Key) {
        request.get_or_insert_default::<Self>().0.push(key.clone());
    }
}
