//! What a function's return type is, found out by the compiler.
//!
//! A method is looked for on `&&&Probe` first, then on `&&Probe`, and so on. So of the traits below that have the same
//! method, the one for the most references wins, if its conditions hold: that is how one expression means one thing
//! for a `Result`, by whatever name, and another for everything else.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use super::error::{CallError, SharedError};

macro_rules! markers {
    ($($(#[$doc:meta])* $name:ident<$($parameter:ident),*>;)*) => {$(
        $(#[$doc])*
        pub struct $name<$($parameter),*>(::std::marker::PhantomData<fn() -> ($($parameter,)*)>);

        impl<$($parameter),*> $name<$($parameter),*> {
            #[allow(clippy::new_without_default)]
            #[must_use]
            pub const fn new() -> Self {
                Self(::std::marker::PhantomData)
            }
        }

        impl<$($parameter),*> Clone for $name<$($parameter),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($parameter),*> Copy for $name<$($parameter),*> {}

        impl<$($parameter),*> ::std::fmt::Debug for $name<$($parameter),*> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}
pub(super) use markers;

markers! {
    /// Asks about a return type.
    Returns<R>;
    /// Asks about the type of a value.
    Item<T>;
    /// Asks about the type of an error.
    Failure<E>;

    OfResultOption<T, E>;
    OfResult<T, E>;
    OfOption<T>;
    OfPlain<T>;

    SharedItem<V>;
    ClonedItem<V>;

    CloneError<E>;
    TextError<E>;
    KeepError<E>;

    FromCallError<E>;
    NotFromCallError<E>;

    /// All that was found out about a return type.
    Plan<S, K, H, V>;
}

impl<R> Returns<R> {
    /// Asks about the type of a value that is there already.
    pub const fn of(_: &R) -> Self {
        Self::new()
    }
}

/// What a return type is made of.
pub trait Shape: Copy + Send + 'static {
    type Output;
    type Item;
    type Error;

    /// There may be no value.
    const OPTIONAL: bool;

    fn split(output: Self::Output) -> Result<Option<Self::Item>, Self::Error>;

    /// `None` if the type cannot say that there is no value.
    fn join(parts: Result<Option<Self::Item>, Self::Error>) -> Option<Self::Output>;

    fn item(self) -> Item<Self::Item> {
        Item::new()
    }

    fn failure(self) -> Failure<Self::Error> {
        Failure::new()
    }
}

impl<T: 'static, E: 'static> Shape for OfResultOption<T, E> {
    type Output = Result<Option<T>, E>;
    type Item = T;
    type Error = E;

    const OPTIONAL: bool = true;

    fn split(output: Self::Output) -> Result<Option<T>, E> {
        output
    }

    fn join(parts: Result<Option<T>, E>) -> Option<Self::Output> {
        Some(parts)
    }
}

impl<T: 'static, E: 'static> Shape for OfResult<T, E> {
    type Output = Result<T, E>;
    type Item = T;
    type Error = E;

    const OPTIONAL: bool = false;

    fn split(output: Self::Output) -> Result<Option<T>, E> {
        output.map(Some)
    }

    fn join(parts: Result<Option<T>, E>) -> Option<Self::Output> {
        parts.transpose()
    }
}

impl<T: 'static> Shape for OfOption<T> {
    type Output = Option<T>;
    type Item = T;
    type Error = Infallible;

    const OPTIONAL: bool = true;

    fn split(output: Self::Output) -> Result<Option<T>, Infallible> {
        Ok(output)
    }

    fn join(parts: Result<Option<T>, Infallible>) -> Option<Self::Output> {
        let Ok(value) = parts;
        Some(value)
    }
}

impl<T: 'static> Shape for OfPlain<T> {
    type Output = T;
    type Item = T;
    type Error = Infallible;

    const OPTIONAL: bool = false;

    fn split(output: T) -> Result<Option<T>, Infallible> {
        Ok(Some(output))
    }

    fn join(parts: Result<Option<T>, Infallible>) -> Option<T> {
        let Ok(value) = parts;
        value
    }
}

pub trait ShapeOfOptions {
    type Shape;

    fn shape(&self) -> Self::Shape;
}

impl<T, E> ShapeOfOptions for &&Returns<Result<Option<T>, E>> {
    type Shape = OfResultOption<T, E>;

    fn shape(&self) -> Self::Shape {
        OfResultOption::new()
    }
}

impl<T> ShapeOfOptions for &&Returns<Option<T>> {
    type Shape = OfOption<T>;

    fn shape(&self) -> Self::Shape {
        OfOption::new()
    }
}

pub trait ShapeOfResults {
    type Shape;

    fn shape(&self) -> Self::Shape;
}

impl<T, E> ShapeOfResults for &Returns<Result<T, E>> {
    type Shape = OfResult<T, E>;

    fn shape(&self) -> Self::Shape {
        OfResult::new()
    }
}

pub trait ShapeOfOthers {
    type Shape;

    fn shape(&self) -> Self::Shape;
}

impl<T> ShapeOfOthers for Returns<T> {
    type Shape = OfPlain<T>;

    fn shape(&self) -> Self::Shape {
        OfPlain::new()
    }
}

/// How an item is kept: behind an `Arc`, which it may be already.
pub trait Keep<T>: Copy + Send + 'static {
    type Value: Send + Sync + 'static;

    fn keep(item: T) -> Arc<Self::Value>;

    fn give(value: Arc<Self::Value>) -> T;
}

impl<V: Send + Sync + 'static> Keep<Arc<V>> for SharedItem<V> {
    type Value = V;

    fn keep(item: Arc<V>) -> Arc<V> {
        item
    }

    fn give(value: Arc<V>) -> Arc<V> {
        value
    }
}

/// What a function that is cached can return.
#[diagnostic::on_unimplemented(
    message = "a function that is cached cannot return `{Self}`",
    label = "returned by a function that is cached",
    note = "a value is stored, and cloned for each caller: it must be `Clone + Send + Sync + 'static`",
    note = "return an `Arc` of a value that cannot be cloned, or is expensive to clone"
)]
pub trait Cacheable: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> Cacheable for T {}

impl<T: Cacheable> Keep<T> for ClonedItem<T> {
    type Value = T;

    fn keep(item: T) -> Arc<T> {
        Arc::new(item)
    }

    fn give(value: Arc<T>) -> T {
        Arc::unwrap_or_clone(value)
    }
}

pub trait KeepOfArcs {
    type Keep;

    fn keep(&self) -> Self::Keep;
}

impl<V> KeepOfArcs for &Item<Arc<V>> {
    type Keep = SharedItem<V>;

    fn keep(&self) -> Self::Keep {
        SharedItem::new()
    }
}

pub trait KeepOfOthers {
    type Keep;

    fn keep(&self) -> Self::Keep;
}

impl<T> KeepOfOthers for Item<T> {
    type Keep = ClonedItem<T>;

    fn keep(&self) -> Self::Keep {
        ClonedItem::new()
    }
}

/// How those who waited for a load that failed learn of it.
pub trait Share<E>: Copy + Send + 'static {
    type Shared: Send + Sync + 'static;

    fn share(error: &E) -> Self::Shared;

    /// The error as another caller's function would have returned it.
    fn restore(shared: &Self::Shared) -> Option<E>;

    /// What it says.
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

/// How what is not the function's own error is returned by the function.
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

/// How a function's results are kept and given.
pub trait Handling: Copy + Send + 'static {
    type Output;
    type Value: Send + Sync + 'static;
    type Error;
    type Shared: Send + Sync + 'static;

    const OPTIONAL: bool;
    /// The function can return a [`CallError`].
    const CONVERTS: bool;

    fn split(output: Self::Output) -> Result<Option<Arc<Self::Value>>, Self::Error>;
    fn join(parts: Result<Option<Arc<Self::Value>>, Self::Error>) -> Option<Self::Output>;
    fn share(error: &Self::Error) -> Self::Shared;
    fn restore(shared: &Self::Shared) -> Option<Self::Error>;
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

    fn share(error: &S::Error) -> H::Shared {
        H::share(error)
    }

    fn restore(shared: &H::Shared) -> Option<S::Error> {
        H::restore(shared).or_else(|| V::convert(CallError::Failed(Arc::new(H::text(shared)?))).ok())
    }

    fn convert(error: CallError) -> Result<S::Error, CallError> {
        V::convert(error)
    }
}
