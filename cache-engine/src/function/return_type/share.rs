//! How an error is shared with the callers who waited.

use std::fmt;

use super::markers::markers;
use super::shape::Failure;
use crate::function::error::{CallError, SharedError};

markers! {
    CloneError<E>;
    TextError<E>;
    KeepError<E>;
}

/// How callers who waited for a failed load get its error.
pub trait Share<E>: Copy + Send + 'static {
    type Shared: Send + Sync + 'static;

    fn share(error: &E) -> Self::Shared;

    /// Returns the error as the function would have returned it to another caller.
    fn restore(shared: &Self::Shared) -> Option<E>;

    /// Returns the error's text.
    fn text(shared: &Self::Shared) -> Option<SharedError>;
}

impl<E: Clone + Send + Sync + 'static> Share<E> for CloneError<E> {
    type Shared = E;

    fn share(error: &E) -> E {
        error.clone()
    }

    fn restore(shared: &E) -> Option<E> {
        Some(shared.clone())
    }

    fn text(_: &E) -> Option<SharedError> {
        None
    }
}

impl<E: fmt::Display + fmt::Debug + 'static> Share<E> for TextError<E> {
    type Shared = SharedError;

    fn share(error: &E) -> SharedError {
        SharedError::of(error)
    }

    fn restore(_: &SharedError) -> Option<E> {
        None
    }

    fn text(shared: &SharedError) -> Option<SharedError> {
        Some(shared.clone())
    }
}

impl<E: 'static> Share<E> for KeepError<E> {
    type Shared = ();

    fn share(_: &E) {}

    fn restore((): &()) -> Option<E> {
        None
    }

    fn text((): &()) -> Option<SharedError> {
        None
    }
}

pub trait ShareByClone {
    type Share;

    fn share(&self) -> Self::Share;
}

impl<E: Clone + Send + Sync + 'static> ShareByClone for &&Failure<E> {
    type Share = CloneError<E>;

    fn share(&self) -> Self::Share {
        CloneError::new()
    }
}

pub trait ShareByText {
    type Share;

    fn share(&self) -> Self::Share;
}

impl<E: From<CallError> + fmt::Display + fmt::Debug> ShareByText for &Failure<E> {
    type Share = TextError<E>;

    fn share(&self) -> Self::Share {
        TextError::new()
    }
}

pub trait ShareNothing {
    type Share;

    fn share(&self) -> Self::Share;
}

impl<E> ShareNothing for Failure<E> {
    type Share = KeepError<E>;

    fn share(&self) -> Self::Share {
        KeepError::new()
    }
}
