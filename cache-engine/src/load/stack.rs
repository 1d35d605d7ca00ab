//! Which loads the current task runs in, so that a load that needs its own key fails instead of waiting for itself.

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
    /// Keys mean something within a store only.
    backend: usize,
    keys: Box<[Key]>,
    flights: Box<[FlightId]>,
    outer: Option<Arc<Self>>,
}

impl LoadStack {
    /// The chain of the current task.
    pub(crate) fn current() -> Option<Arc<Self>> {
        LOADING.try_with(Arc::clone).ok()
    }

    /// A load of `keys` that runs in `outer`.
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

    /// Runs `load` as part of the chain.
    pub(crate) async fn scope<F: Future>(self: Arc<Self>, load: F) -> F::Output {
        LOADING.scope(self, load).await
    }

    /// Runs `poll`, which polls a load, as part of the stack.
    #[cfg(feature = "macros")]
    pub(crate) fn enter<R>(self: &Arc<Self>, poll: impl FnOnce() -> R) -> R {
        LOADING.sync_scope(Arc::clone(self), poll)
    }

    /// Whether one of the loads is that of `key`.
    pub(crate) fn loads(&self, backend: &Arc<dyn Backend>, key: &Key) -> bool {
        let backend = address(backend);
        // No recursion, since loads may be nested deeply.
        let mut stack = Some(self);
        while let Some(load) = stack {
            if load.backend == backend && load.keys.contains(key) {
                return true;
            }
            stack = load.outer.as_deref();
        }
        false
    }

    /// The flights of the innermost load, which wait for whatever the current task waits for.
    pub(crate) fn flights(&self) -> &[FlightId] {
        &self.flights
    }
}

/// What tells one store from another in this process.
fn address(backend: &Arc<dyn Backend>) -> usize {
    Arc::as_ptr(backend).cast::<()>().addr()
}
