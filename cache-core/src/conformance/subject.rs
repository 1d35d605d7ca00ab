//! The backend under test, and the thoroughness of the checks.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::clock::ManualClock;
use crate::conformance::declared::Declared;

/// A backend under test, and how thorough the checks are.
///
/// Lower the numbers only for a store that is slow or costs money.
#[derive(Debug, Clone)]
#[must_use]
pub struct Subject {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) declared: Declared,
    pub(super) other: Option<Arc<dyn Backend>>,
    pub(super) clock: Option<ManualClock>,
    pub(super) slack: Duration,
    pub(super) timeout: Duration,
    pub(super) writers: usize,
    pub(super) entries: usize,
    pub(super) batch: usize,
    pub(super) steps: usize,
}

impl Subject {
    /// Returns `backend` as a subject on the real clock, with the default numbers, that declares nothing.
    pub fn new(backend: impl Backend) -> Self {
        Self {
            backend: Arc::new(backend),
            declared: Declared::nothing(),
            other: None,
            clock: None,
            slack: Duration::from_secs(2),
            timeout: Duration::from_secs(120),
            writers: 64,
            entries: 10_000,
            batch: 1_000,
            steps: 1_000,
        }
    }

    /// Sets what the backend is expected to declare, which decides which checks apply. The macro
    /// [`conformance!`](macro@crate::conformance) sets it from its list.
    pub fn with_declared(mut self, declared: Declared) -> Self {
        self.declared = declared;
        self
    }

    /// Sets the clock that drives the backend. The checks move it instead of waiting, and test the exact millisecond.
    pub fn with_clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Adds another handle to the same store, with a connection of its own. The checks of subscriptions also write
    /// through it.
    pub fn with_other_handle(mut self, backend: impl Backend) -> Self {
        self.other = Some(Arc::new(backend));
        self
    }

    /// Sets how long past its lifetime a record may still be found. Default: 2 s. It has no effect with a
    /// [clock](Self::with_clock).
    pub fn with_slack(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// Sets how long one check may take before it counts as failed. Default: 120 s.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many writers compete in the checks of concurrency. Default: 64. At least 2.
    pub fn with_writers(mut self, writers: usize) -> Self {
        self.writers = writers.max(2);
        self
    }

    /// Sets how many entries the largest cleared namespace has. Default: 10,000. At least 2.
    pub fn with_entries(mut self, entries: usize) -> Self {
        self.entries = entries.max(2);
        self
    }

    /// Sets how many keys the largest batch has. Default: 1,000. Never less than one more than twice the backend's
    /// [`Limits::batch`](crate::Limits::batch).
    pub fn with_batch(mut self, keys: usize) -> Self {
        self.batch = keys.max(2);
        self
    }

    /// Sets how many random calls are compared with a map. Default: 1,000.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }
}

impl<B: Backend> From<B> for Subject {
    fn from(backend: B) -> Self {
        Self::new(backend)
    }
}
