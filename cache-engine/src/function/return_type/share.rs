//! How an error is shared with the waiting callers.

use std::sync::Arc;

use super::describe::Describe;
use super::markers::markers;
use super::shape::Failure;
use crate::function::error::{CallError, reclaim, share_text, share_whole};
use crate::load::error::Unshared;
use crate::load::shared_error::SharedError;

markers! {
    CloneError<E>;
    WholeError<E, D>;
    TextError<E, D>;
    OwnError<E>;
}

/// How the callers that waited for a failed load get its error.
pub trait Share<E>: Copy + Send + 'static {
    type Shared: Send + Sync + 'static;

    /// Returns what is shared, and what remains for the caller whose load failed.
    fn share(error: E) -> (Self::Shared, Option<E>);

    /// Returns the error as the function returned it.
    fn restore(shared: &Self::Shared) -> Option<E>;

    /// Returns the error itself, if nobody else holds it.
    fn reclaim(shared: Arc<Self::Shared>) -> Result<E, Arc<Self::Shared>>;

    /// Returns what a [`CallError`] can hold.
    fn shared_error(shared: &Self::Shared) -> Option<SharedError>;
}

impl<E: Clone + Send + Sync + 'static> Share<E> for CloneError<E> {
    type Shared = E;

    fn share(error: E) -> (E, Option<E>) {
        (error.clone(), Some(error))
    }

    fn restore(shared: &E) -> Option<E> {
        Some(shared.clone())
    }

    fn reclaim(shared: Arc<E>) -> Result<E, Arc<E>> {
        Ok(Arc::unwrap_or_clone(shared))
    }

    fn shared_error(_: &E) -> Option<SharedError> {
        None
    }
}

impl<E: Send + Sync + 'static, D: Describe<E>> Share<E> for WholeError<E, D> {
    type Shared = SharedError;

    fn share(error: E) -> (SharedError, Option<E>) {
        (share_whole::<E, D>(error), None)
    }

    fn restore(_: &SharedError) -> Option<E> {
        None
    }

    fn reclaim(shared: Arc<SharedError>) -> Result<E, Arc<SharedError>> {
        reclaim::<E, D>(Arc::try_unwrap(shared)?).map_err(Arc::new)
    }

    fn shared_error(shared: &SharedError) -> Option<SharedError> {
        Some(shared.clone())
    }
}

impl<E: 'static, D: Describe<E>> Share<E> for TextError<E, D> {
    type Shared = SharedError;

    fn share(error: E) -> (SharedError, Option<E>) {
        (share_text::<E, D>(&error), Some(error))
    }

    fn restore(_: &SharedError) -> Option<E> {
        None
    }

    fn reclaim(shared: Arc<SharedError>) -> Result<E, Arc<SharedError>> {
        Err(shared)
    }

    fn shared_error(shared: &SharedError) -> Option<SharedError> {
        Some(shared.clone())
    }
}

impl<E: 'static> Share<E> for OwnError<E> {
    type Shared = Unshared;

    fn share(error: E) -> (Unshared, Option<E>) {
        (Unshared, Some(error))
    }

    fn restore(_: &Unshared) -> Option<E> {
        None
    }

    fn reclaim(shared: Arc<Unshared>) -> Result<E, Arc<Unshared>> {
        Err(shared)
    }

    fn shared_error(_: &Unshared) -> Option<SharedError> {
        None
    }
}

pub trait ShareByClone {
    type Error;

    fn share<D: Describe<Self::Error>>(&self, describe: D) -> CloneError<Self::Error>;
}

impl<E: Clone + Send + Sync + 'static> ShareByClone for &&&Failure<E> {
    type Error = E;

    fn share<D: Describe<E>>(&self, _: D) -> CloneError<E> {
        CloneError::new()
    }
}

pub trait ShareWhole {
    type Error;

    fn share<D: Describe<Self::Error>>(&self, describe: D) -> WholeError<Self::Error, D>;
}

impl<E: From<CallError> + Send + Sync + 'static> ShareWhole for &&Failure<E> {
    type Error = E;

    fn share<D: Describe<E>>(&self, _: D) -> WholeError<E, D> {
        WholeError::new()
    }
}

pub trait ShareByText {
    type Error;

    fn share<D: Describe<Self::Error>>(&self, describe: D) -> TextError<Self::Error, D>;
}

impl<E: From<CallError> + 'static> ShareByText for &Failure<E> {
    type Error = E;

    fn share<D: Describe<E>>(&self, _: D) -> TextError<E, D> {
        TextError::new()
    }
}

pub trait ShareNothing {
    type Error;

    fn share<D: Describe<Self::Error>>(&self, describe: D) -> OwnError<Self::Error>;
}

impl<E> ShareNothing for Failure<E> {
    type Error = E;

    fn share<D: Describe<E>>(&self, _: D) -> OwnError<E> {
        OwnError::new()
    }
}
