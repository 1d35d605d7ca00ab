//! The shape of a return type: a plain value, an `Option`, a `Result`, or a `Result` of an `Option`.

use std::convert::Infallible;
use std::future::Future;

use super::markers::markers;

markers! {
    /// Stands for a return type, to select the traits for it.
    Returns<R>;
    /// Stands for the type of a value, to select the traits for it.
    Item<T>;
    /// Stands for the type of an error, to select the traits for it.
    Failure<E>;

    OfResultOption<T, E>;
    OfResult<T, E>;
    OfOption<T>;
    OfPlain<T>;
}

impl<R> Returns<R> {
    /// Returns the marker of the type of an expression.
    pub const fn of(_: &R) -> Self {
        Self::new()
    }

    /// Constrains the output of a future to the function's return type.
    #[must_use]
    pub const fn is<F: Future<Output = R>>(self, future: F) -> F {
        future
    }
}

/// The parts of a return type.
pub trait Shape: Copy + Send + 'static {
    type Output;
    type Item;
    type Error;

    /// Whether the type has a case without a value.
    const OPTIONAL: bool;

    fn split(output: Self::Output) -> Result<Option<Self::Item>, Self::Error>;

    /// Returns `None` if there is no value, and the type cannot express that.
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
