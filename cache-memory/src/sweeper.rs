//! The background task that frees expired records which nobody reads or writes.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::time::Moment;

/// Deadlines close to one another are served together.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// A clock that was handed in may be set forward, and then a deadline is there sooner than it seemed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const OFF: u8 = 2;

/// What the task works on.
pub(crate) trait Sweep: Send + Sync + 'static {
    fn sweeper(&self) -> &Sweeper;

    /// Whether there is nothing to do any more.
    fn is_closed(&self) -> bool;

    fn now(&self) -> Moment;

    /// Returns a moment before which nothing expires, or `None` if nothing ever does.
    fn earliest_deadline(&self) -> Option<Moment>;

    /// Frees a batch of the expired records in part `index`, and returns whether there may be more; `None` if there is
    /// no such part.
    fn sweep(&self, index: usize) -> Option<bool>;
}

/// The store's side of the task.
#[derive(Debug)]
pub(crate) struct Sweeper {
    notify: Arc<Notify>,
    /// The deadline that the task sleeps for, or the end of time while it works or has none.
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

    /// Makes sure that the task is awake by `deadline`, and that there is a task, if this is called inside a runtime.
    ///
    /// The deadline is in the index already. The task takes back `sleeps_until` before it looks into the index, so
    /// either it sees the deadline there, or this sees a `sleeps_until` that is later.
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

/// Marks the task as gone when it ends, so that another runtime can start it anew.
struct Running<S: Sweep>(Weak<S>);

impl<S: Sweep> Drop for Running<S> {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            // A runtime without timers ends the task with a panic, and would do so again.
            let next = if std::thread::panicking() { OFF } else { IDLE };
            store.sweeper().state.store(next, Ordering::SeqCst);
        }
    }
}

/// Runs until the store is gone or closed. The store is held only while there is work, never across a pause.
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
                // Both ends of the wait are a reason to look again.
                let _: Result<(), _> = timeout(pause, notify.notified()).await;
            }
        }
    }
}
