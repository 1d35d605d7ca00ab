//! How the result of a write shows whether the write failed, and how it reports that the invalidation failed.

use cache_core::Error;

use super::return_type::markers::markers;
use super::return_type::shape::Returns;
use crate::log::log_error;

/// Logs an invalidation that failed.
pub(super) fn report(error: &Error) {
    log_error(
        "an invalidation could not be carried out: outdated values may be found",
        Some(error),
    );
}

/// How the result of a write shows whether the write failed, and how it reports that the invalidation failed.
pub trait Completion: Copy {
    type Output;

    fn failed(output: &Self::Output) -> bool;

    fn fail(output: Self::Output, error: Error) -> Self::Output;
}

/// A [`Completion`] whose write can return an error.
#[diagnostic::on_unimplemented(
    message = "`unless_err` needs a function that returns a `Result`",
    label = "this function returns no `Result`",
    note = "remove `unless_err`: the function has no error after which nothing is invalidated"
)]
pub trait Fallible: Completion {}

markers! {
    /// The function's error can be created from an [`Error`].
    OfFitting<R>;
    /// The function's error cannot be created from an [`Error`].
    OfUnfitting<R>;
    /// The function returns no error.
    OfInfallible<R>;
}

impl<T, E: From<Error>> Completion for OfFitting<Result<T, E>> {
    type Output = Result<T, E>;

    fn failed(output: &Result<T, E>) -> bool {
        output.is_err()
    }

    fn fail(_: Result<T, E>, error: Error) -> Result<T, E> {
        Err(E::from(error))
    }
}

impl<T, E> Completion for OfUnfitting<Result<T, E>> {
    type Output = Result<T, E>;

    fn failed(output: &Result<T, E>) -> bool {
        output.is_err()
    }

    fn fail(output: Result<T, E>, error: Error) -> Result<T, E> {
        report(&error);
        output
    }
}

impl<R> Completion for OfInfallible<R> {
    type Output = R;

    fn failed(_: &R) -> bool {
        false
    }

    fn fail(output: R, error: Error) -> R {
        report(&error);
        output
    }
}

impl<T, E: From<Error>> Fallible for OfFitting<Result<T, E>> {}

impl<T, E> Fallible for OfUnfitting<Result<T, E>> {}

pub trait CompletionOfFitting {
    type Completion;

    fn completion(&self) -> Self::Completion;
}

impl<T, E: From<Error>> CompletionOfFitting for &&Returns<Result<T, E>> {
    type Completion = OfFitting<Result<T, E>>;

    fn completion(&self) -> Self::Completion {
        OfFitting::new()
    }
}

pub trait CompletionOfUnfitting {
    type Completion;

    fn completion(&self) -> Self::Completion;
}

impl<T, E> CompletionOfUnfitting for &Returns<Result<T, E>> {
    type Completion = OfUnfitting<Result<T, E>>;

    fn completion(&self) -> Self::Completion {
        OfUnfitting::new()
    }
}

pub trait CompletionOfOthers {
    type Completion;

    fn completion(&self) -> Self::Completion;
}

impl<R> CompletionOfOthers for Returns<R> {
    type Completion = OfInfallible<R>;

    fn completion(&self) -> Self::Completion {
        OfInfallible::new()
    }
}
