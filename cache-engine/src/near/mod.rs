//! Near copies: what this process keeps in memory of a store elsewhere, and the subscription that ends them.

pub(crate) mod copies;
pub(crate) mod copy;
pub(crate) mod subscription;
