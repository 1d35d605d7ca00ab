//! A layer within another one.

use cache_engine::cache_core::Key;
use http::Extensions;

/// In the extensions of a request to the handler: the keys whose answers are being loaded by it.
///
/// A layer with the same key within the one that loads would find an outdated answer, or wait for that very load and so
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
