//! What is invalidated in the scope of a transaction is collected, and carried out after the commit.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cache::invalidation_part::Part;

tokio::task_local! {
    /// Where the invalidations of the current task are collected.
    static COLLECTED: Arc<Collected>;
}

/// Invalidations that wait for the end of a transaction.
#[derive(Debug, Default)]
pub(super) struct Collected(Mutex<Vec<Part>>);

impl Collected {
    /// Returns where the invalidations of the current task are collected, if it runs in a scope.
    pub(super) fn current() -> Option<Arc<Self>> {
        COLLECTED.try_with(Arc::clone).ok()
    }

    /// Collects what is invalidated while `future` runs, and while it is dropped.
    pub(super) fn scope<F: Future>(self: Arc<Self>, future: F) -> impl Future<Output = F::Output> + use<F> {
        COLLECTED.scope(self, future)
    }

    pub(super) fn add(&self, parts: impl IntoIterator<Item = Part>) {
        let mut collected = self.lock();
        for part in parts {
            part.add_to(&mut collected);
        }
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        self.lock().clone()
    }

    pub(super) fn take(&self) -> Vec<Part> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collects invalidations, if the current task runs in the scope of a transaction. Returns whether it does.
pub(super) fn collect<I: IntoIterator<Item = Part>>(parts: impl FnOnce() -> I) -> bool {
    let current = Collected::current();
    if let Some(collected) = &current {
        collected.add(parts());
    }
    current.is_some()
}
