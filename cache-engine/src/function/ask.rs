//! What an entry asks of its call, instead of the call's result: what is stored, to run anew, or to store a result.
//!
//! The entry holds the future of the call, which nobody has polled. Polled by [`Asking`], the call finds the question when
//! it looks up its key, and answers it in the place of its body, with its own coder, policy and tags.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use cache_core::Error;
use pin_project_lite::pin_project;

use super::return_type::plan::Handling;
use crate::tags::ambient::{Ambient, Flags};

thread_local! {
    /// The question to the next call that looks up its key.
    static ASKED: RefCell<Option<Question>> = const { RefCell::new(None) };
}

/// A question to a call.
#[derive(Clone)]
pub(super) struct Question(Arc<Inner>);

struct Inner {
    what: Mutex<Option<What>>,
    /// The end of the call, if the call does not end with its own result.
    ended: Mutex<Option<Result<(), Error>>>,
}

pub(super) enum What {
    Stored,
    Anew,
    /// Stores this, which has the type that the function returns.
    Store(Box<dyn Any + Send>),
}

impl Question {
    pub(super) fn new(what: What) -> Self {
        Self(Arc::new(Inner {
            what: Mutex::new(Some(what)),
            ended: Mutex::new(None),
        }))
    }

    fn take(&self) -> Option<What> {
        self.0.what.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_open(&self) -> bool {
        self.0.what.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn ended(&self) -> Option<Result<(), Error>> {
        self.0.ended.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends the call without its own result. The call goes no further.
    pub(super) async fn end<R>(self, result: Result<(), Error>) -> R {
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        pending().await
    }
}

/// A question, as the call that it is asked of understands it.
pub(super) enum Request<V> {
    /// Whether there is a fresh value. If so, it is the call's result.
    Stored(Question),
    /// To load anew, whatever is stored.
    Anew,
    /// To store this value, or that there is none. Outer `None`: the result is an error.
    Store(Question, Option<Option<Arc<V>>>),
}

/// Returns what is asked of the call that is polled. `flags` say that something is.
#[cold]
pub(super) fn take_request<H: Handling>(flags: Flags) -> Option<Box<Request<H::Value>>> {
    flags.end_question();
    let question = ASKED.take()?;
    Some(Box::new(match question.take()? {
        What::Stored => Request::Stored(question),
        What::Anew => Request::Anew,
        What::Store(result) => {
            // The type is that of the function, so the downcast succeeds.
            let result = result.downcast::<H::Output>().ok().map(|result| H::split(*result));
            Request::Store(question, result.and_then(Result::ok))
        }
    }))
}

pin_project! {
    /// A call that is asked something.
    pub(super) struct Asking<F> {
        #[pin]
        call: F,
        question: Question,
    }
}

impl<F> Asking<F> {
    pub(super) fn new(call: F, what: What) -> Self {
        Self {
            call,
            question: Question::new(what),
        }
    }
}

impl<F: Future> Future for Asking<F> {
    /// The result of the call, or `None` if it ended without one.
    type Output = Result<Option<F::Output>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = if this.question.is_open() {
            let before = ASKED.replace(Some(this.question.clone()));
            let polled = Ambient::asked(true).enter(|| this.call.poll(context));
            ASKED.set(before);
            polled
        } else {
            this.call.poll(context)
        };
        match (polled, this.question.ended()) {
            (_, Some(ended)) => Poll::Ready(ended.map(|()| None)),
            (Poll::Ready(output), None) => Poll::Ready(Ok(Some(output))),
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}
