//! The plan: everything that was determined about a return type.

use std::any::TypeId;
use std::sync::Arc;

use super::convert::Convert;
use super::keep::Keep;
use super::markers::markers;
use super::shape::{Item, Shape};
use super::share::Share;
use crate::function::error::CallError;
use crate::load::fill::Outcome;

markers! {
    /// Everything that was determined about a return type.
    Plan<S, K, H, V>;
}

impl<S, K, H, V> Plan<S, K, H, V>
where
    S: Shape,
    K: Keep<S::Item>,
    H: Share<S::Error>,
    V: Convert<S::Error>,
{
    #[must_use]
    pub const fn of(_: S, _: K, _: H, _: V) -> Self {
        Self::new()
    }
}

/// How a function's results are stored and returned.
pub trait Handling: Copy + Send + 'static {
    type Output;
    type Value: Send + Sync + 'static;
    type Error;
    type Shared: Send + Sync + 'static;

    const OPTIONAL: bool;
    /// Whether the function can return a [`CallError`].
    const CONVERTS: bool;

    /// Returns the marker of the type of the values.
    fn values(self) -> Item<Self::Value> {
        Item::new()
    }

    /// Returns the type that a load lands with.
    fn result(self) -> TypeId {
        TypeId::of::<Outcome<Self::Value, Self::Shared>>()
    }

    fn split(output: Self::Output) -> Result<Option<Arc<Self::Value>>, Self::Error>;
    fn join(parts: Result<Option<Arc<Self::Value>>, Self::Error>) -> Option<Self::Output>;
    /// Returns what is shared with the waiting callers, and what remains for the caller whose function failed.
    fn share(error: Self::Error) -> (Self::Shared, Option<Self::Error>);
    /// Returns the error of a load that another caller may hold too.
    fn restore(shared: &Self::Shared) -> Option<Self::Error>;
    /// Returns the error of a load that this caller ran: the function's own error, if nobody else holds it.
    fn reclaim(shared: Arc<Self::Shared>) -> Option<Self::Error>;
    fn convert(error: CallError) -> Result<Self::Error, CallError>;
}

impl<S, K, H, V> Handling for Plan<S, K, H, V>
where
    S: Shape,
    K: Keep<S::Item>,
    H: Share<S::Error>,
    V: Convert<S::Error>,
{
    type Output = S::Output;
    type Value = K::Value;
    type Error = S::Error;
    type Shared = H::Shared;

    const OPTIONAL: bool = S::OPTIONAL;
    const CONVERTS: bool = V::POSSIBLE;

    fn split(output: S::Output) -> Result<Option<Arc<K::Value>>, S::Error> {
        Ok(S::split(output)?.map(K::keep))
    }

    fn join(parts: Result<Option<Arc<K::Value>>, S::Error>) -> Option<S::Output> {
        S::join(parts.map(|value| value.map(K::give)))
    }

    fn share(error: S::Error) -> (H::Shared, Option<S::Error>) {
        H::share(error)
    }

    fn restore(shared: &H::Shared) -> Option<S::Error> {
        H::restore(shared).or_else(|| V::convert(CallError::Failed(Arc::new(H::shared_error(shared)?))).ok())
    }

    fn reclaim(shared: Arc<H::Shared>) -> Option<S::Error> {
        H::reclaim(shared).map_or_else(|shared| Self::restore(&shared), Some)
    }

    fn convert(error: CallError) -> Result<S::Error, CallError> {
        V::convert(error)
    }
}
