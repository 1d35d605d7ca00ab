//! Tasks that run independently of their callers, and that a shutdown waits for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

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
        Tracked {
            task,
            running: self.0.running.subscribe(),
        }
    }
}

pin_project! {
    /// A task that counts as running until it is dropped.
    struct Tracked<F> {
        #[pin]
        task: F,
        // Dropped after the task.
        running: watch::Receiver<()>,
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().task.poll(context)
    }
}
