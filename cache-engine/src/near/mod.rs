//! Near copies: copies in this process's memory of values in a store elsewhere, and the subscription that ends them.

pub(crate) mod copies;
pub(crate) mod copy;
pub(crate) mod subscription;
