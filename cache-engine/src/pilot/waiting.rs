//! A place among those who wait for a flight, and what is left behind when it is given up.

use std::sync::Arc;

use cache_core::Key;

use crate::core::Core;
use crate::flight::{Wait, Waited};

/// A place among those who wait for a flight. If its leader is gone and nobody else waits, giving it up releases the
/// fence that the leader left for a successor.
#[derive(Debug)]
pub(crate) struct Waiting {
    core: Arc<Core>,
    key: Key,
    wait: Wait,
}

impl Waiting {
    pub(crate) fn new(core: Arc<Core>, key: Key, wait: Wait) -> Self {
        Self { core, key, wait }
    }

    /// As [`Wait::wait`].
    pub(crate) async fn wait(&self) -> Waited {
        self.wait.wait().await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(fence) = self.wait.leave() {
            self.core.release(self.key.clone(), fence, None);
        }
    }
}
