//! Parses what is in the parentheses of an attribute.

pub(crate) mod duration;
pub(crate) mod errors;
pub(crate) mod syntax;
