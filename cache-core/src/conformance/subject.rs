//! What is under test, and how thoroughly.

use std::sync::Arc;
use std::time::Duration;

use crate::{Backend, ManualClock};

/// A backend under test, and how thorough the checks are.
///
/// The numbers are lower bounds of what a backend must bear, so lower them only where a store is slow or costs money.
#[derive(Debug, Clone)]
#[must_use]
pub struct Subject {
    pub(super) backend: Arc<dyn Backend>,
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
    /// `backend`, on the real clock, with the default numbers.
    pub fn new(backend: impl Backend) -> Self {
        Self {
            backend: Arc::new(backend),
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

    /// The clock that drives the backend. The checks move it instead of waiting, and look at the exact millisecond.
    pub fn with_clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Another handle to the same store, connected on its own. The checks of notices write by it, too.
    pub fn with_other_handle(mut self, backend: impl Backend) -> Self {
        self.other = Some(Arc::new(backend));
        self
    }

    /// How long past its lifetime a record may still be there; 2 seconds by default. Without meaning where there is a
    /// [clock](Self::with_clock).
    pub fn with_slack(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// How long one check may take before it counts as failed; 120 seconds by default.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many writers compete in the checks of concurrency; 64 by default, at least 2.
    pub fn with_writers(mut self, writers: usize) -> Self {
        self.writers = writers.max(2);
        self
    }

    /// How many entries the largest namespace has that is cleared; 10,000 by default, at least 2.
    pub fn with_entries(mut self, entries: usize) -> Self {
        self.entries = entries.max(2);
        self
    }

    /// How many keys the largest batch has; 1,000 by default, and never less than twice the backend's
    /// [`Limits::batch`](crate::Limits::batch) and one.
    pub fn with_batch(mut self, keys: usize) -> Self {
        self.batch = keys.max(2);
        self
    }

    /// How many random calls are compared with a map; 1,000 by default.
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
