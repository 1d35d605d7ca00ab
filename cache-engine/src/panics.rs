//! Panics in the code of users, such as observers and coders. They must not reach callers whose own code did not panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cache_core::{Error, ErrorKind};

/// Returns the message of a panic, as it was passed to `panic!`.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> Arc<str> {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => Arc::from(*message),
        (_, Some(message)) => Arc::from(message.as_str()),
        _ => Arc::from("a panic without a message"),
    }
}

/// Calls a coder. A panic becomes an error of the kind [`Codec`](ErrorKind::Codec).
#[inline]
pub(crate) fn coding<R>(call: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let message = format!("the coder panicked: {}", panic_message(&*panic));
        Err(Error::new(ErrorKind::Codec, message))
    })
}
