//! What a function's return type is, found out by the compiler.
//!
//! An attribute knows the return type as text only. The traits here have the same methods for different types, and a
//! method is looked up on `&&&T` first, then on `&&T`, and so on: the trait that is implemented for the most references
//! wins if its conditions hold. So one expression means one thing for a `Result`, under any name, and another for
//! everything else.

pub(crate) mod convert;
pub(crate) mod describe;
pub(crate) mod keep;
pub(crate) mod markers;
pub(crate) mod plan;
pub(crate) mod shape;
pub(crate) mod share;
