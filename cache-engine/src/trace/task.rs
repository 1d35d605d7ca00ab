//! Tasks with a span. A span that is entered or held by a task does not end, so no task may keep that of a caller that
//! has gone on.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tracing::Span;

/// Says that a caller waits for a task. Drop it when the caller goes on; the task is not cancelled by that.
#[derive(Debug)]
#[must_use = "dropping it says that nobody waits for the task"]
pub struct Awaited {
    _caller: Option<oneshot::Receiver<Infallible>>,
}

/// Gives a task its span, for a caller that waits for it. If that span is disabled, the task runs in the caller's span,
/// as long as the caller waits.
pub(crate) fn awaited<F: Future>(span: Span, task: F) -> (Traced<F>, Awaited) {
    if !span.is_disabled() {
        return (background(span, task), Awaited { _caller: None });
    }
    let span = Span::current();
    let (waits, caller) = if span.is_disabled() {
        (None, None)
    } else {
        let (waits, caller) = oneshot::channel();
        (Some(waits), Some(caller))
    };
    (Traced { task, span, waits }, Awaited { _caller: caller })
}

/// Gives a task its span, if nobody waits for it. If that span is disabled, the task runs in none.
pub(crate) fn background<F: Future>(span: Span, task: F) -> Traced<F> {
    Traced {
        task,
        span,
        waits: None,
    }
}

pin_project! {
    /// A task with a span.
    pub(crate) struct Traced<F> {
        #[pin]
        task: F,
        span: Span,
        // If the span is that of the caller: closed when the caller goes on.
        waits: Option<oneshot::Sender<Infallible>>,
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(waits) = this.waits
            && waits.poll_closed(context).is_ready()
        {
            *this.waits = None;
            *this.span = Span::none();
        }
        let _entered = this.span.enter();
        this.task.poll(context)
    }
}
