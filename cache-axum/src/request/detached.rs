//! Loads that no request waits for any more. Their number is limited.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The loads of a layer whose callers have disconnected, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct DetachedLoads(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    loads: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl DetachedLoads {
    /// Waits until a load whose caller has just disconnected is to be cancelled: when it is the oldest of more than
    /// `limit`. Dropping the future removes the load from the count.
    pub(crate) async fn until_cancelled(self: Arc<Self>, limit: usize) {
        let (cancel, cancelled) = oneshot::channel();
        let (id, superfluous) = {
            let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let id = queue.next;
            queue.next += 1;
            queue.loads.push_back((id, cancel));
            let superfluous = if queue.loads.len() > limit {
                queue.loads.pop_front()
            } else {
                None
            };
            (id, superfluous)
        };
        drop(superfluous);
        let _entry = Entry { loads: &self, id };
        // An error has the same meaning: the sender was dropped.
        let _ = cancelled.await;
    }
}

struct Entry<'a> {
    loads: &'a DetachedLoads,
    id: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut queue = self.loads.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.loads.retain(|(id, _)| *id != self.id);
    }
}
