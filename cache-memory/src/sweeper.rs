//! The background task that frees expired records.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::time::Moment;

/// Deadlines that are close together are handled in one go.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// A clock that the user set may step forward, so that a deadline comes sooner than expected.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const OFF: u8 = 2;

/// The store as the task sees it.
pub(crate) trait Sweep: Send + Sync + 'static {
    fn sweeper(&self) -> &Sweeper;

    /// Returns whether the task should end.
    fn is_closed(&self) -> bool;

    fn now(&self) -> Moment;

    /// Returns a lower bound of the earliest deadline, or `None` if there are no deadlines.
    fn earliest_deadline(&self) -> Option<Moment>;

    /// Frees a batch of expired records in the shard at `index`. Returns whether there may be more, or `None` if there
    /// is no such shard.
    fn sweep(&self, index: usize) -> Option<bool>;
}

/// The store's side of the task.
#[derive(Debug)]
pub(crate) struct Sweeper {
    notify: Arc<Notify>,
    /// The deadline that the task sleeps until; the largest number while it works or has none.
    sleeps_until: AtomicU64,
    state: AtomicU8,
}

impl Sweeper {
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            notify: Arc::new(Notify::new()),
            sleeps_until: AtomicU64::new(u64::MAX),
            state: AtomicU8::new(if enabled { IDLE } else { OFF }),
        }
    }

    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    /// Makes sure that the task wakes up by `deadline`. Starts the task if it is called inside a runtime.
    ///
    /// The deadline is in the index already, and the task resets `sleeps_until` before it reads the index. So either
    /// the task sees the deadline in the index, or this function sees a later `sleeps_until`.
    pub(crate) fn watch<S: Sweep>(&self, store: &Arc<S>, deadline: Moment) {
        let deadline = deadline.as_millis();
        match self.state.load(Ordering::SeqCst) {
            RUNNING
                if deadline < self.sleeps_until.load(Ordering::SeqCst)
                    && deadline < self.sleeps_until.fetch_min(deadline, Ordering::SeqCst) =>
            {
                self.wake();
            }
            IDLE => {
                if let Ok(runtime) = Handle::try_current()
                    && self
                        .state
                        .compare_exchange(IDLE, RUNNING, Ordering::SeqCst, Ordering::SeqCst)
                        .is_ok()
                {
                    let running = Running(Arc::downgrade(store));
                    let notify = Arc::clone(&self.notify);
                    runtime.spawn(async move { run(&running, &notify).await });
                }
            }
            _ => {}
        }
    }
}

/// Marks the task as ended when it is dropped, so that another runtime can start it again.
struct Running<S: Sweep>(Weak<S>);

impl<S: Sweep> Drop for Running<S> {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            // In a runtime without timers the task panics, and would do so again.
            let next = if std::thread::panicking() { OFF } else { IDLE };
            store.sweeper().state.store(next, Ordering::SeqCst);
        }
    }
}

/// Runs until the store is dropped or closed. The task owns the store only while it works, never while it sleeps.
async fn run<S: Sweep>(running: &Running<S>, notify: &Notify) {
    loop {
        if let Some(store) = running.0.upgrade() {
            store.sweeper().sleeps_until.store(u64::MAX, Ordering::SeqCst);
        }
        let mut index = 0;
        while let Some(more) = running.0.upgrade().and_then(|store| store.sweep(index)) {
            if more {
                yield_now().await;
            } else {
                index += 1;
            }
        }
        let Some(pause) = running.0.upgrade().filter(|store| !store.is_closed()).map(|store| {
            let deadline = store.earliest_deadline()?.as_millis();
            store.sweeper().sleeps_until.store(deadline, Ordering::SeqCst);
            let left = deadline.saturating_sub(store.now().as_millis());
            Some(Duration::from_millis(left).clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
        }) else {
            return;
        };
        match pause {
            None => notify.notified().await,
            Some(pause) => {
                // Whether the pause is over or a notification arrived, look again.
                let _: Result<(), _> = timeout(pause, notify.notified()).await;
            }
        }
    }
}
