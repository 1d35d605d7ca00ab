//! The loads that the current task runs in. By them, a load that needs its own key fails instead of waiting for itself.

use std::future::Future;
use std::sync::Arc;

use cache_core::{Backend, Key};

use crate::load::flight::FlightId;

tokio::task_local! {
    static LOADING: Arc<LoadStack>;
}

/// A load, and the load that it runs in.
#[derive(Debug)]
pub(crate) struct LoadStack {
    /// The [`address`] of the store. Keys are only unique within a store.
    backend: usize,
    keys: Box<[Key]>,
    flights: Box<[FlightId]>,
    outer: Option<Arc<Self>>,
}

impl LoadStack {
    /// Returns the stack of the current task.
    pub(crate) fn current() -> Option<Arc<Self>> {
        LOADING.try_with(Arc::clone).ok()
    }

    /// Creates the stack of a load of `keys` that runs in `outer`.
    pub(crate) fn within(
        outer: Option<Arc<Self>>,
        backend: &Arc<dyn Backend>,
        keys: impl Into<Box<[Key]>>,
        flights: impl Into<Box<[FlightId]>>,
    ) -> Arc<Self> {
        let (keys, flights) = (keys.into(), flights.into());
        Arc::new(Self {
            backend: address(backend),
            keys,
            flights,
            outer,
        })
    }

    /// Runs `load` as part of the stack.
    pub(crate) async fn scope<F: Future>(self: Arc<Self>, load: F) -> F::Output {
        LOADING.scope(self, load).await
    }

    /// Runs `poll`, which polls a load, as part of the stack.
    #[cfg(feature = "functions")]
    pub(crate) fn enter<R>(self: &Arc<Self>, poll: impl FnOnce() -> R) -> R {
        LOADING.sync_scope(Arc::clone(self), poll)
    }

    /// Returns whether one of the loads is that of `key`.
    pub(crate) fn loads(&self, backend: &Arc<dyn Backend>, key: &Key) -> bool {
        let backend = address(backend);
        // Not recursive, because loads may be nested deeply.
        let mut stack = Some(self);
        while let Some(load) = stack {
            // Shortened keys can be equal although they stand for different things.
            let is_it = |known: &Key| known == key && known.identity() == key.identity();
            if load.backend == backend && load.keys.iter().any(is_it) {
                return true;
            }
            stack = load.outer.as_deref();
        }
        false
    }

    /// Returns the flights of the innermost load. They wait for whatever the current task waits for.
    pub(crate) fn flights(&self) -> &[FlightId] {
        &self.flights
    }
}

/// Returns an address that identifies a store in this process.
fn address(backend: &Arc<dyn Backend>) -> usize {
    Arc::as_ptr(backend).cast::<()>().addr()
}
