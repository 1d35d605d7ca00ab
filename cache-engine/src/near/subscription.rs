//! The change subscription of the store: receives its reports and passes them on.

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

/// The pause between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(250);

/// Subscribes to the changes below the cache's prefix. The subscription begins when it is first needed.
#[derive(Debug)]
pub(crate) struct Subscriber {
    store: Arc<Store>,
    scope: Scope,
    changes: Arc<Changes>,
    near: Option<Arc<Near>>,
    tag_cache: Arc<TagCache>,
    events: Events,
    /// Whether the task runs and its runtime still exists.
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

    /// The changes that were reported.
    pub(crate) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Begins the subscription, unless it already runs in a runtime that still exists, or there is no runtime to run it
    /// in.
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

    /// Returns whether the subscription was begun, whatever became of it since, and was not ended.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Ends the subscription, without an event. It begins again when it is needed.
    pub(crate) fn end(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            // The task reports its end, unless that is known.
            self.changes.lost();
        }
    }

    fn handle(&self, change: Change) {
        match change {
            Change::Record(key) => self.changed(&key),
            Change::Everything => self.everything_changed(),
            Change::Heartbeat(moment) => self.heartbeat(Instant::from_std(moment)),
            Change::Lost(error) => self.lost(error),
            // A kind of change that a later version added. This is safe whatever it is.
            _ => self.everything_changed(),
        }
    }

    fn lost(&self, error: Error) {
        if self.changes.lost() {
            self.report_lost(error);
        }
    }

    /// Emits the event of a lost subscription. Not every backend names itself and the operation in its errors.
    fn report_lost(&self, error: Error) {
        let error = error
            .with_backend(self.store.backend().name())
            .with_operation("subscribe");
        self.events.emit(&Event::SubscriptionLost { error: &error });
    }

    /// Handles the end of the subscription.
    fn ended(&self, why: &'static str) {
        self.lost(Error::new(ErrorKind::Unavailable, why));
        self.everything_changed();
    }

    /// Handles a heartbeat: all changes up to `moment` have been reported.
    fn heartbeat(&self, moment: Instant) {
        if self.changes.reported_until(moment) {
            self.events.emit(&Event::SubscriptionBegun);
        }
        // The store is there again, and nobody notices: near copies answer all callers, for example.
        if self.store.is_forgotten() {
            let store = Arc::clone(&self.store);
            tokio::spawn(async move { store.probe().await });
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

/// A guard in the subscription's task. It is dropped with the task, which may end with its runtime.
struct Listening(Weak<Subscriber>);

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(subscriber) = self.0.upgrade() {
            subscriber.ended("the runtime of the subscription has ended");
            // The next call that needs the subscription begins it again.
            subscriber.begun.store(false, Ordering::Relaxed);
        }
    }
}

async fn listen(subscriber: &Weak<Subscriber>) {
    let mut failure_reported = false;
    loop {
        let Some(mut stream) = subscribe(subscriber, &mut failure_reported).await else {
            let gone = subscriber.strong_count() == 0;
            if gone {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while let Some(change) = stream.next().await {
            let Some(subscriber) = subscriber.upgrade() else { return };
            subscriber.handle(change);
        }
        // The store was closed. It may be opened again.
        let Some(subscriber) = subscriber.upgrade() else { return };
        subscriber.ended("the store ended the stream of changes");
        failure_reported = true;
        drop(subscriber);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn subscribe(subscriber: &Weak<Subscriber>, failure_reported: &mut bool) -> Option<Box<dyn Subscription>> {
    let subscriber = subscriber.upgrade()?;
    let heartbeat = subscriber.changes.bound() / 4;
    let begun = Instant::now();
    match subscriber.store.backend().subscribe(&subscriber.scope, heartbeat).await {
        Ok(stream) => {
            // Copies from before may be outdated. From now on, all changes are reported.
            subscriber.everything_changed();
            subscriber.heartbeat(begun);
            Some(stream)
        }
        Err(error) => {
            if !std::mem::replace(failure_reported, true) {
                subscriber.report_lost(error);
            }
            None
        }
    }
}
