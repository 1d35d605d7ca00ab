//! The background task that frees expired records which nobody reads or writes.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::store::{PURGE_BATCH, Store};

/// Deadlines close to one another are served together.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// The clock may be set forward, and then a deadline is there sooner than it seemed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const OFF: u8 = 2;

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

    /// Sees to it that the task is awake by `deadline`, and that there is one, if this is called inside a runtime.
    ///
    /// The deadline is in the index already. The task takes back `sleeps_until` before it looks into the index, so
    /// either it sees the deadline there, or this sees a `sleeps_until` that is later.
    pub(crate) fn watch(&self, store: &Arc<Store>, deadline: u64) {
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
struct Running(Weak<Store>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            // A runtime without timers ends the task with a panic, and would do so again.
            let next = if std::thread::panicking() { OFF } else { IDLE };
            store.sweeper.state.store(next, Ordering::SeqCst);
        }
    }
}

/// Runs until the store is gone or closed. The store is held only while there is work, never across a pause.
async fn run(running: &Running, notify: &Notify) {
    loop {
        if let Some(store) = running.0.upgrade() {
            store.sweeper.sleeps_until.store(u64::MAX, Ordering::SeqCst);
        }
        for index in 0.. {
            match running.0.upgrade().and_then(|store| store.purge_batch(index)) {
                None => break,
                Some(freed) if freed == PURGE_BATCH => yield_now().await,
                Some(_) => {}
            }
        }
        let Some(pause) = running.0.upgrade().filter(|store| !store.is_closed()).map(|store| {
            let deadline = store.earliest_deadline()?;
            store.sweeper.sleeps_until.store(deadline, Ordering::SeqCst);
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
