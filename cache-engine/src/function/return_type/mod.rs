//! Determines a function's return type by the compiler's method resolution.
//!
//! An attribute only sees the tokens of the return type. The traits here have the same methods for different types. The
//! compiler looks up a method on `&&&T` first, then on `&&T`, and so on, so the trait that is implemented for the most
//! references wins if its bounds hold. One expression thus means one thing for a `Result`, under any name, and another
//! for everything else.

pub(crate) mod convert;
pub(crate) mod describe;
pub(crate) mod keep;
pub(crate) mod markers;
pub(crate) mod plan;
pub(crate) mod shape;
pub(crate) mod share;
