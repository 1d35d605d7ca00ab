//! Listens to what the store tells of changes, and passes it on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cache_core::{Change, Error, ErrorKind, Key, Scope, Subscription};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::event::{Event, Events};
use crate::near::copies::Near;
use crate::store::Store;
use crate::store::changes::Changes;
use crate::tags::cache::TagCache;

/// Between two attempts to listen.
const PAUSE: Duration = Duration::from_millis(250);

/// Listens to what the store tells of changes below the cache's prefix, from the first time on that somebody needs it.
#[derive(Debug)]
pub(crate) struct Subscriber {
    store: Arc<Store>,
    scope: Scope,
    changes: Arc<Changes>,
    near: Option<Arc<Near>>,
    tag_cache: Arc<TagCache>,
    events: Events,
    /// The task is there, and its runtime.
    begun: AtomicBool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Subscriber {
    pub(crate) fn new(
        store: &Arc<Store>,
        scope: Scope,
        changes: &Arc<Changes>,
        near: Option<&Arc<Near>>,
        tag_cache: &Arc<TagCache>,
        events: &Events,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            scope,
            changes: Arc::clone(changes),
            near: near.cloned(),
            tag_cache: Arc::clone(tag_cache),
            events: events.clone(),
            begun: AtomicBool::new(false),
            task: Mutex::default(),
        })
    }

    /// What is told of.
    pub(crate) fn changes(&self) -> &Arc<Changes> {
        &self.changes
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
        if self.changes.lost() {
            self.events.emit(&Event::SubscriptionLost { error });
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
        if self.changes.told_until(moment) {
            self.events.emit(&Event::SubscriptionBegun);
        }
    }

    fn changed(&self, key: &Key) {
        match &self.near {
            Some(near) => near.changed(key),
            None => self.changes.changed(key),
        }
        self.tag_cache.forget(key);
    }

    fn everything_changed(&self) {
        match &self.near {
            Some(near) => near.forget_everything(),
            None => self.changes.everything_changed(),
        }
        self.tag_cache.forget_all(&self.scope);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

/// Held by the task that listens, which ends with its runtime at the latest.
struct Listening(Weak<Subscriber>);

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(subscriber) = self.0.upgrade() {
            subscriber.ended("the runtime is gone in which the store was listened to");
            // Whoever needs it next begins anew.
            subscriber.begun.store(false, Ordering::Relaxed);
        }
    }
}

async fn listen(subscriber: &Weak<Subscriber>) {
    let mut told_of_failure = false;
    loop {
        let Some(mut stream) = subscribe(subscriber, &mut told_of_failure).await else {
            let gone = subscriber.strong_count() == 0;
            if gone {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while let Some(notice) = stream.next().await {
            let Some(subscriber) = subscriber.upgrade() else { return };
            subscriber.take_note(notice);
        }
        // The store was closed. It may be that somebody opens it again.
        let Some(subscriber) = subscriber.upgrade() else { return };
        subscriber.ended("the store ended the stream of changes");
        told_of_failure = true;
        drop(subscriber);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn subscribe(subscriber: &Weak<Subscriber>, told_of_failure: &mut bool) -> Option<Box<dyn Subscription>> {
    let subscriber = subscriber.upgrade()?;
    let beat = subscriber.changes.bound() / 4;
    let asked = Instant::now();
    match subscriber.store.backend().subscribe(&subscriber.scope, beat).await {
        Ok(stream) => {
            // What was copied before is of no use, and all that comes from now on is told of.
            subscriber.everything_changed();
            subscriber.told_until(asked);
            Some(stream)
        }
        Err(error) => {
            if !std::mem::replace(told_of_failure, true) {
                subscriber.events.emit(&Event::SubscriptionLost { error: &error });
            }
            None
        }
    }
}
