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

/// Gives a task its span, for a caller that waits for it. As long as the caller waits, the task is in the caller's span
/// too, for subscribers that do not want the task's.
pub(crate) fn awaited<F: Future>(span: Span, task: F) -> (Traced<F>, Awaited) {
    let callers = Span::current();
    let (caller, waiting) = if callers.is_disabled() {
        (None, None)
    } else {
        let (left, waiting) = oneshot::channel();
        (Some(Caller { span: callers, left }), Some(waiting))
    };
    (Traced { task, span, caller }, Awaited { _caller: waiting })
}

/// Gives a task its span, if nobody waits for it.
pub(crate) fn background<F: Future>(span: Span, task: F) -> Traced<F> {
    Traced {
        task,
        span,
        caller: None,
    }
}

/// A caller that waits for a task.
#[derive(Debug)]
struct Caller {
    span: Span,
    /// Closed when the caller goes on.
    left: oneshot::Sender<Infallible>,
}

pin_project! {
    /// A task with a span.
    pub(crate) struct Traced<F> {
        #[pin]
        task: F,
        span: Span,
        caller: Option<Caller>,
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(caller) = this.caller
            && caller.left.poll_closed(context).is_ready()
        {
            *this.caller = None;
        }
        let _callers = this.caller.as_ref().map(|caller| caller.span.enter());
        let _entered = this.span.enter();
        this.task.poll(context)
    }
}
