//! The requests that a layer leaves alone.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;

type Condition = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Conditions, of which any one makes a request bypass the layer.
#[derive(Clone, Default)]
pub(crate) struct BypassIf(Vec<Condition>);

impl BypassIf {
    pub(crate) fn add(&mut self, condition: impl Fn(&Parts) -> bool + Send + Sync + 'static) {
        self.0.push(Arc::new(condition));
    }

    #[inline]
    pub(crate) fn matches(&self, request: &Parts) -> bool {
        self.0.iter().any(|condition| condition(request))
    }
}

impl fmt::Debug for BypassIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BypassIf").field(&self.0.len()).finish()
    }
}
