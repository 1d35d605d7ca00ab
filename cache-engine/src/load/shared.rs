//! What all handles of one cache share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache_core::{FunctionCall, Key, KeyBuilder, Prefix};
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use crate::event::Events;
use crate::lease::fence::Fence;
use crate::lease::protocol::{Leases, Renewal, Renewed};
use crate::load::flight::Flights;
use crate::load::fresh_keys::FreshKeys;
use crate::load::on_hit::{DueKeys, Random};
use crate::tags::ambient::is_bypassed;
use crate::tasks::Tasks;
use crate::tier::storage::Tier;
use crate::trace::load::current;
use crate::trace::task::background;

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
pub(crate) struct Shared {
    pub(crate) prefix: Prefix,
    pub(crate) tier: Arc<Tier>,
    pub(crate) leases: Leases,
    pub(crate) flights: Flights,
    /// The keys that need no lease when they are read.
    pub(crate) fresh_keys: FreshKeys,
    pub(crate) events: Events,
    pub(crate) call_keys: Box<dyn CallKeys>,
    /// Loads and refreshes that run independently of their callers.
    pub(crate) tasks: Tasks,
    /// Whether callers do what would otherwise be done in the background.
    pub(crate) foreground: bool,
    pub(crate) enabled: AtomicBool,
    pub(crate) random: Random,
    /// The keys whose early refresh is due.
    pub(crate) due: DueKeys,
    /// Bounds the verifications that run at the same time.
    pub(crate) verifications: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Returns whether the cache is switched on, and the current task does not bypass it.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.is_enabled() && !is_bypassed()
    }

    /// Returns whether background work may still be started.
    pub(crate) fn is_open(&self) -> bool {
        !self.tasks.is_closed()
    }

    /// Releases a fence in the background, after its renewal if one is under way. Outside of a runtime, the lease
    /// expires by itself.
    pub(crate) fn release(&self, key: Key, fence: Fence, renewal: Option<Renewal>) {
        if self.tier.store.is_local() {
            // A local store is ready at once, so nobody finds a lease without a holder.
            let _ = self.leases.release(&key, fence).now_or_never();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let leases = self.leases.clone();
            let releasing = async move {
                let fence = match renewal {
                    Some(renewal) => renewal
                        .await
                        .ok()
                        .and_then(Result::ok)
                        .and_then(Renewed::fence)
                        .unwrap_or(fence),
                    None => fence,
                };
                leases.release(&key, fence).await;
            };
            self.tasks.spawn_on(background(current(), releasing), &runtime);
        }
    }
}
