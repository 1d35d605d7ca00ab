//! A queue of changes between the task that receives them and the subscription.

use std::collections::VecDeque;
use std::sync::Arc;

use cache_core::{Change, Subscription, async_trait};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The most changes in the queue. More of them become one [`Change::Everything`].
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Change>,
    ended: bool,
}

impl Outbox {
    pub(super) fn put(&self, change: Change) {
        let mut waiting = self.waiting.lock();
        let changes = &mut waiting.changes;
        if matches!(change, Change::Heartbeat(_)) && matches!(changes.back(), Some(Change::Heartbeat(_))) {
            // A later heartbeat replaces an earlier one.
            changes.pop_back();
        } else if changes.len() >= MOST {
            changes.clear();
            changes.push_back(Change::Everything);
        }
        changes.push_back(change);
        drop(waiting);
        self.wake.notify_one();
    }

    fn end(&self) {
        self.waiting.lock().ended = true;
        self.wake.notify_one();
    }

    async fn take(&self) -> Option<Change> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.ended {
                    return None;
                }
                if let Some(change) = waiting.changes.pop_front() {
                    return Some(change);
                }
            }
            self.wake.notified().await;
        }
    }
}

/// The task's end of the queue. When the task ends, for any reason, the subscription ends.
#[derive(Debug)]
pub(super) struct Sender(pub(super) Arc<Outbox>);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The subscription's end of the queue.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) outbox: Arc<Outbox>,
    pub(super) task: JoinHandle<()>,
}

#[async_trait]
impl Subscription for Tracked {
    async fn next(&mut self) -> Option<Change> {
        self.outbox.take().await
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use cache_core::{Key, Prefix};

    use super::*;

    fn key(number: usize) -> Key {
        Prefix::new("p").namespace("n").key(format!("{number}"))
    }

    #[tokio::test]
    async fn of_moments_in_a_row_the_last_is_kept() {
        let outbox = Outbox::default();
        let moments = [Instant::now(), Instant::now(), Instant::now()];
        outbox.put(Change::Heartbeat(moments[0]));
        outbox.put(Change::Record(key(1)));
        outbox.put(Change::Heartbeat(moments[1]));
        outbox.put(Change::Heartbeat(moments[2]));
        assert!(matches!(outbox.take().await, Some(Change::Heartbeat(moment)) if moment == moments[0]));
        assert!(matches!(outbox.take().await, Some(Change::Record(changed)) if changed == key(1)));
        assert!(matches!(outbox.take().await, Some(Change::Heartbeat(moment)) if moment == moments[2]));
        assert!(outbox.waiting.lock().changes.is_empty());
    }

    #[tokio::test]
    async fn what_is_too_much_to_keep_becomes_everything_and_what_follows_is_kept() {
        let outbox = Outbox::default();
        for number in 0..=MOST {
            outbox.put(Change::Record(key(number)));
        }
        outbox.put(Change::Heartbeat(Instant::now()));
        assert!(matches!(outbox.take().await, Some(Change::Everything)));
        assert!(matches!(outbox.take().await, Some(Change::Record(changed)) if changed == key(MOST)));
        assert!(matches!(outbox.take().await, Some(Change::Heartbeat(_))));
        outbox.end();
        assert!(outbox.take().await.is_none());
    }
}
