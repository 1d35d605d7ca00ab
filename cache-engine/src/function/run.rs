//! Runs the body of a function as a load.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::load::stack::LoadStack;
use crate::tags::scope::Tagger;
use crate::trace::load::LoadSpan;

/// How a body ended.
pub enum Ran<R> {
    Returned(R),
    Panicked(Box<dyn Any + Send>),
    TimedOut(Duration),
}

/// A body that runs as a load, together with the future that renews its lease and ends with the time limit.
///
/// It is written by hand, and as small as possible, because nested cached functions have one of these per level on the
/// stack whenever they are polled.
pub struct Run<'a, F> {
    pub(super) span: &'a LoadSpan,
    pub(super) body: Pin<Box<F>>,
    pub(super) stack: Arc<LoadStack>,
    pub(super) tagger: Tagger,
    pub(super) keeper: Pin<Box<dyn Future<Output = Duration> + Send + 'a>>,
}

impl<F: Future> Future for Run<'_, F> {
    type Output = Ran<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _entered = this.span.entered();
        let body = this.body.as_mut();
        // Unwind safe, because a body that panics is not polled again, so no broken state is observed.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            this.stack.enter(|| this.tagger.enter(|| body.poll(context)))
        }));
        match polled {
            Ok(Poll::Ready(output)) => return Poll::Ready(Ran::Returned(output)),
            Err(panic) => return Poll::Ready(Ran::Panicked(panic)),
            Ok(Poll::Pending) => {}
        }
        this.keeper.as_mut().poll(context).map(Ran::TimedOut)
    }
}
