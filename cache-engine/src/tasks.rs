//! Tasks that run independently of their callers, and those who wait for them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

tokio::task_local! {
    static CURRENT: Background;
}

/// The background tasks of a cache. Clones are about the same tasks.
#[derive(Debug, Clone)]
pub(crate) struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    closed: AtomicBool,
    closing: Notify,
    /// Each task that runs has a receiver.
    running: watch::Sender<()>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            running: watch::Sender::new(()),
        }))
    }

    /// Returns whether a shutdown has begun. Tasks can still be started.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.closing.notify_waiters();
    }

    /// Waits until a shutdown begins.
    pub(crate) async fn closed(&self) {
        let closing = self.0.closing.notified();
        // A `Notified` that was created before `notify_waiters` is woken by it.
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Starts a task in the current runtime. Panics outside of one.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(self.track(task))
    }

    pub(crate) fn spawn_on<F>(&self, task: F, runtime: &Handle) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        runtime.spawn(self.track(task))
    }

    /// Waits until no task runs.
    pub(crate) async fn wait(&self) {
        self.0.running.closed().await;
    }

    fn track<F>(&self, task: F) -> Tracked<F> {
        let background = CURRENT.try_with(Clone::clone).ok();
        Tracked {
            task,
            _running: self.0.running.subscribe(),
            _part: background.as_ref().map(|background| background.0.subscribe()),
            background,
        }
    }
}

/// What a piece of work leaves running in the background of any cache: refreshes, loads whose caller has left, and the
/// release of leases. For adapters that wait for it; see [`CacheBuilder::foreground`](crate::CacheBuilder::foreground).
///
/// Clones are about the same tasks.
#[derive(Debug, Clone)]
pub struct Background(Arc<watch::Sender<()>>);

impl Background {
    /// Creates a group of tasks without any.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }

    /// Runs `work`. The tasks that it starts in the background belong to this group, and so do those that these tasks
    /// start.
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// Returns whether no task of the group runs.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.receiver_count() == 0
    }

    /// Waits until no task of the group runs. Do not call it in one of them, which would wait for itself.
    pub async fn settled(&self) {
        self.0.closed().await;
    }
}

impl Default for Background {
    fn default() -> Self {
        Self::new()
    }
}

pin_project! {
    /// A task that counts as running until it is dropped.
    struct Tracked<F> {
        #[pin]
        task: F,
        // Dropped after the task.
        _running: watch::Receiver<()>,
        _part: Option<watch::Receiver<()>>,
        background: Option<Background>,
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.background {
            Some(background) => CURRENT.sync_scope(background.clone(), || this.task.poll(context)),
            None => this.task.poll(context),
        }
    }
}
