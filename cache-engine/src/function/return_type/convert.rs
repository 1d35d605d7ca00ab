//! How a [`CallError`] becomes the function's own error.

use super::markers::markers;
use super::shape::Failure;
use crate::function::error::CallError;

markers! {
    FromCallError<E>;
    NotFromCallError<E>;
}

/// How a [`CallError`] becomes the function's own error.
pub trait Convert<E>: Copy + Send + 'static {
    const POSSIBLE: bool;

    fn convert(error: CallError) -> Result<E, CallError>;
}

impl<E: From<CallError> + 'static> Convert<E> for FromCallError<E> {
    const POSSIBLE: bool = true;

    fn convert(error: CallError) -> Result<E, CallError> {
        Ok(E::from(error))
    }
}

impl<E: 'static> Convert<E> for NotFromCallError<E> {
    const POSSIBLE: bool = false;

    fn convert(error: CallError) -> Result<E, CallError> {
        Err(error)
    }
}

pub trait ConvertByFrom {
    type Convert;

    fn convert(&self) -> Self::Convert;
}

impl<E: From<CallError>> ConvertByFrom for &Failure<E> {
    type Convert = FromCallError<E>;

    fn convert(&self) -> Self::Convert {
        FromCallError::new()
    }
}

pub trait ConvertNothing {
    type Convert;

    fn convert(&self) -> Self::Convert;
}

impl<E> ConvertNothing for Failure<E> {
    type Convert = NotFromCallError<E>;

    fn convert(&self) -> Self::Convert {
        NotFromCallError::new()
    }
}

/// How an error type reports that a function took longer than its `load_timeout`.
#[diagnostic::on_unimplemented(
    message = "a function with `load_timeout` returns a `Result` whose error can report that it took too long",
    label = "this needs `From<CallError>` for the error of the function",
    note = "implement `From<CallError>` for the error type, or return a type that has it, such as `anyhow::Error`"
)]
pub trait ReportsTimeouts {}

impl<E: From<CallError>> ReportsTimeouts for FromCallError<E> {}

/// Accepts the conversion of an error type that can report a timeout, and no other.
pub fn must_report_timeouts<V: ReportsTimeouts>(convert: V) -> V {
    convert
}
