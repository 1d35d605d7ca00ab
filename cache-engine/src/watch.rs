//! Listens to what the store tells of changes, and passes it on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cache_core::{Change, Error, ErrorKind, Key, Scope, Subscription};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::event::{Event, Events};
use crate::near::Near;
use crate::notices::Notices;
use crate::store::Store;
use crate::tagging::Memo;

/// Between two attempts to listen.
const PAUSE: Duration = Duration::from_millis(250);

/// Listens to what the store tells of changes below the cache's prefix, from the first time on that somebody needs it.
#[derive(Debug)]
pub(crate) struct Watch {
    store: Arc<Store>,
    scope: Scope,
    notices: Arc<Notices>,
    near: Option<Arc<Near>>,
    memo: Arc<Memo>,
    events: Events,
    /// The task is there, and its runtime.
    begun: AtomicBool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Watch {
    pub(crate) fn new(
        store: &Arc<Store>,
        scope: Scope,
        notices: &Arc<Notices>,
        near: Option<&Arc<Near>>,
        memo: &Arc<Memo>,
        events: &Events,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            scope,
            notices: Arc::clone(notices),
            near: near.cloned(),
            memo: Arc::clone(memo),
            events: events.clone(),
            begun: AtomicBool::new(false),
            task: Mutex::default(),
        })
    }

    /// What is told of.
    pub(crate) fn notices(&self) -> &Arc<Notices> {
        &self.notices
    }

    /// Begins to listen, unless that was done before in a runtime that is still there, or there is none to do it in.
    #[inline]
    pub(crate) fn begin(self: &Arc<Self>) {
        if !self.begun.load(Ordering::Relaxed) {
            self.begin_now();
        }
    }

    #[cold]
    fn begin_now(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.begun.swap(true, Ordering::Relaxed) {
            let listening = Listening(Arc::downgrade(self));
            let task = runtime.spawn(async move { listen(&listening.0).await });
            *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
    }

    fn take_note(&self, notice: Change) {
        match notice {
            Change::Record(key) => self.changed(&key),
            Change::Everything => self.everything_changed(),
            Change::Heartbeat(moment) => self.told_until(Instant::from_std(moment)),
            Change::Lost(error) => self.lost(&error),
            // A kind of later versions: whatever it says, this is on the safe side.
            _ => self.everything_changed(),
        }
    }

    fn lost(&self, error: &Error) {
        if self.notices.lost() {
            self.events.emit(&Event::NoticesLost { error });
        }
    }

    /// Nobody listens any more.
    fn ended(&self, why: &'static str) {
        let name = self.store.backend().name();
        let error = Error::new(ErrorKind::Unavailable, why).with_backend(name);
        self.lost(&error.with_operation("subscribe"));
        self.everything_changed();
    }

    fn told_until(&self, moment: Instant) {
        if self.notices.told_until(moment) {
            self.events.emit(&Event::NoticesBegun);
        }
    }

    fn changed(&self, key: &Key) {
        match &self.near {
            Some(near) => near.changed(key),
            None => self.notices.changed(key),
        }
        self.memo.forget(key);
    }

    fn everything_changed(&self) {
        match &self.near {
            Some(near) => near.forget_everything(),
            None => self.notices.everything_changed(),
        }
        self.memo.forget_all(&self.scope);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

/// Held by the task that listens, which ends with its runtime at the latest.
struct Listening(Weak<Watch>);

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(watch) = self.0.upgrade() {
            watch.ended("the runtime is gone in which the store was listened to");
            // Whoever needs it next begins anew.
            watch.begun.store(false, Ordering::Relaxed);
        }
    }
}

async fn listen(watch: &Weak<Watch>) {
    let mut told_of_failure = false;
    loop {
        let Some(mut stream) = subscribe(watch, &mut told_of_failure).await else {
            let gone = watch.strong_count() == 0;
            if gone {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while let Some(notice) = stream.next().await {
            let Some(watch) = watch.upgrade() else { return };
            watch.take_note(notice);
        }
        // The store was closed. It may be that somebody opens it again.
        let Some(watch) = watch.upgrade() else { return };
        watch.ended("the store ended the stream of notices");
        told_of_failure = true;
        drop(watch);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn subscribe(watch: &Weak<Watch>, told_of_failure: &mut bool) -> Option<Box<dyn Subscription>> {
    let watch = watch.upgrade()?;
    let beat = watch.notices.bound() / 4;
    let asked = Instant::now();
    match watch.store.backend().subscribe(&watch.scope, beat).await {
        Ok(stream) => {
            // What was copied before is of no use, and all that comes from now on is told of.
            watch.everything_changed();
            watch.told_until(asked);
            Some(stream)
        }
        Err(error) => {
            if !std::mem::replace(told_of_failure, true) {
                watch.events.emit(&Event::NoticesLost { error: &error });
            }
            None
        }
    }
}
