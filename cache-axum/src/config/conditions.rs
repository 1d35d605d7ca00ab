//! Conditions on requests.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;

use crate::key::url::in_normal_spelling;

type Condition = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Conditions on a request, of which one has to be true.
#[derive(Clone, Default)]
pub(crate) struct Conditions(Vec<Condition>);

impl Conditions {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, condition: impl Fn(&Parts) -> bool + Send + Sync + 'static) {
        self.0.push(Arc::new(condition));
    }

    /// Returns whether one of the conditions is true for the normal spelling of a request.
    #[inline]
    pub(crate) fn matches(&self, request: &Parts) -> bool {
        // A layer without conditions does not look at the spelling.
        !self.is_empty() && in_normal_spelling(request, |request| self.0.iter().any(|condition| condition(request)))
    }
}

impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conditions").field(&self.0.len()).finish()
    }
}
