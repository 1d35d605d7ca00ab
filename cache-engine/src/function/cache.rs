//! The cache of a function: the value of `cache = …`, or the default cache.

use std::ops::Deref;

use crate::cache::default_cache::default_cache as configured;
use crate::cache::handle::Cache;

/// The type of `cache = …`: a [`Cache`], or anything that dereferences to one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cache",
    label = "not a cache",
    note = "`cache = …` takes a `Cache`, or what dereferences to one: a reference, an `Arc`, a `LazyLock`, axum's `State`"
)]
pub trait AsCache {
    type Coder;

    fn as_cache(&self) -> &Cache<Self::Coder>;
}

impl<C> AsCache for Cache<C> {
    type Coder = C;

    fn as_cache(&self) -> &Self {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<P> AsCache for P
where
    P: Deref,
    P::Target: AsCache,
{
    type Coder = <P::Target as AsCache>::Coder;

    fn as_cache(&self) -> &Cache<Self::Coder> {
        self.deref().as_cache()
    }
}

/// Returns the cache that the value of `cache = …` is, or dereferences to.
pub fn as_cache<A: AsCache + ?Sized>(cache: &A) -> &Cache<A::Coder> {
    cache.as_cache()
}

/// Returns the default cache.
///
/// # Panics
/// Panics if no default cache is set.
#[must_use]
#[track_caller]
pub fn default_cache(module: &str, function: &str) -> &'static Cache {
    match configured() {
        Some(cache) => cache,
        None => panic!(
            "`{module}::{function}` is to use the default cache, and none is set: call \
             `set_default_cache` before, or name a cache with `cache = …`"
        ),
    }
}
