//! A caller's place among those that wait for a flight.

use std::sync::Arc;

use cache_core::Key;
use tracing::span;

use crate::load::flight::{Wait, Waited};
use crate::load::shared::Shared;

/// A caller's place among those that wait for a flight. If the leader is gone and nobody else waits, dropping it
/// releases the fence that the leader left for a successor.
#[derive(Debug)]
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    key: Key,
    wait: Wait,
}

impl Waiting {
    pub(crate) fn new(shared: Arc<Shared>, key: Key, wait: Wait) -> Self {
        Self { shared, key, wait }
    }

    /// As [`Wait::wait`].
    pub(crate) async fn wait(&self) -> Waited {
        self.wait.wait().await
    }

    /// As [`Wait::wait_or_preview`].
    pub(crate) async fn wait_or_preview(&self) -> Waited {
        self.wait.wait_or_preview().await
    }

    /// As [`Wait::load_span`].
    pub(crate) fn load_span(&self) -> Option<span::Id> {
        self.wait.load_span()
    }

    /// As [`Wait::disband`].
    pub(crate) fn disband(&self) {
        self.wait.disband();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(fence) = self.wait.leave() {
            self.shared.release(self.key.clone(), fence, None);
        }
    }
}
