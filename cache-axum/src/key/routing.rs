//! Which route serves a request, so that no spelling of a path reaches the responses of another route.

use axum::extract::{MatchedPath, NestedPath};
use http::request::Parts;

/// The route that serves a request, as far as routers have decided that.
///
/// All spellings of a path share a key, but routers compare paths without decoding them. So a path that is not spelled in its
/// normal form may lead to another handler, and to other middleware, than the normal form does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    /// A hash of the route's path. Zero if no router has found a route, or if it is not known yet.
    pub(crate) route: u64,
    /// Whether a router has compared another spelling of the path than its normal form.
    pub(crate) is_respelled: bool,
}

impl Routing {
    /// Returns the routing of a request. `is_respelled` comes from the building of its key.
    pub(crate) fn of(request: &Parts, is_respelled: bool) -> Self {
        let extensions = &request.extensions;
        let matched = extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let nested = extensions.get::<NestedPath>().map(NestedPath::as_str);
        let route = match (matched, nested) {
            (None, None) => 0,
            // A path contains no line break.
            _ => fnv(&[nested.unwrap_or_default(), "\n", matched.unwrap_or_default()]),
        };
        Self { route, is_respelled }
    }

    /// Returns whether a response to one of two requests with the same key may be for the other one: both were spelled
    /// in the normal form, or the same route serves them.
    #[inline]
    pub(crate) fn agrees_with(self, other: Self) -> bool {
        !(self.is_respelled || other.is_respelled) || self.route == other.route
    }
}

/// Returns a hash that is the same in every process (FNV-1a), and not zero.
fn fnv(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325, add) | 1
}
