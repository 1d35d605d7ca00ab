//! What all handles of one cache share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache_core::{FunctionCall, Key, KeyBuilder, Prefix};
use futures_util::FutureExt;
use tokio_util::task::TaskTracker;

use crate::event::Events;
use crate::fence::{Fence, Fences, Renewal};
use crate::flight::Flights;

/// How the calls of functions are named.
pub(crate) trait CallKeys: for<'a> KeyBuilder<FunctionCall<'a>> {}

impl<B: for<'a> KeyBuilder<FunctionCall<'a>>> CallKeys for B {}

impl fmt::Debug for dyn CallKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallKeys")
    }
}

/// What all handles of one cache share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) prefix: Prefix,
    pub(crate) fences: Arc<Fences>,
    pub(crate) flights: Flights,
    pub(crate) events: Events,
    pub(crate) call_keys: Box<dyn CallKeys>,
    /// Loads and refreshes that belong to no caller.
    pub(crate) tasks: TaskTracker,
    pub(crate) enabled: AtomicBool,
}

impl Core {
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Whether background work may still be started.
    pub(crate) fn is_open(&self) -> bool {
        !self.tasks.is_closed()
    }

    /// Takes a fence down in the background, after its renewal if that is under way. Outside of a runtime the lease
    /// runs out by itself.
    pub(crate) fn release(&self, key: Key, fence: Fence, renewal: Option<Renewal>) {
        if self.fences.store.is_local() {
            // Ready at once, so that nobody finds a lease that nobody holds.
            let _ = self.fences.take_down(&key, fence).now_or_never();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let fences = Arc::clone(&self.fences);
            self.tasks.spawn_on(
                async move {
                    let fence = match renewal {
                        Some(renewal) => renewal.await.ok().and_then(Result::ok).flatten().unwrap_or(fence),
                        None => fence,
                    };
                    fences.take_down(&key, fence).await;
                },
                &runtime,
            );
        }
    }
}
