//! The coder of a function: the value of `coder = …`, or the cache's.

use std::sync::Arc;

use cache_core::{Coder, Versioned};

use crate::cache::handle::Cache;

/// A coder for the values of a function.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be stored: the coder `{Self}` does not take it",
    label = "returned by a function that is cached",
    note = "for the usual `Json`, a value must implement `serde::Serialize` and `serde::de::DeserializeOwned`",
    note = "name another coder with `coder = …`",
    note = "to cache the response of a handler, use `CacheLayer`"
)]
pub trait Codes<T>: Coder<T> {}

#[diagnostic::do_not_recommend]
impl<T, D: Coder<T>> Codes<T> for D {}

/// The source of the coder.
pub trait Coding<C> {
    type Coder: Send + Sync + 'static;

    fn coder<'a>(&'a self, cache: &'a Cache<C>) -> &'a Self::Coder;

    /// Returns a handle with this coder.
    fn handle(self, cache: &Cache<C>) -> Cache<Self::Coder>;
}

/// The cache's own coder.
#[derive(Debug, Clone, Copy)]
pub struct OwnCoder;

impl<C: Send + Sync + 'static> Coding<C> for OwnCoder {
    type Coder = C;

    fn coder<'a>(&'a self, cache: &'a Cache<C>) -> &'a C {
        &cache.engine.coder
    }

    fn handle(self, cache: &Cache<C>) -> Cache<C> {
        cache.clone()
    }
}

/// The coder of `coder = …`.
#[derive(Debug, Clone, Copy)]
pub struct GivenCoder<D>(pub D);

impl<C, D: Send + Sync + 'static> Coding<C> for GivenCoder<D> {
    type Coder = D;

    fn coder<'a>(&'a self, _: &'a Cache<C>) -> &'a D {
        &self.0
    }

    fn handle(self, cache: &Cache<C>) -> Cache<D> {
        cache.with_coder(self.0)
    }
}

/// A coder whose values have the version of `version = …`.
#[derive(Debug)]
pub struct VersionedCoder<D>(Versioned<Arc<D>>);

/// Returns the coder of `coding` with a version.
pub fn versioned<C, D: Coding<C>>(coding: D, cache: &Cache<C>, version: u32) -> VersionedCoder<D::Coder> {
    VersionedCoder(Versioned::new(coding.handle(cache).engine.coder, version))
}

impl<C, D: Send + Sync + 'static> Coding<C> for VersionedCoder<D> {
    type Coder = Versioned<Arc<D>>;

    fn coder<'a>(&'a self, _: &'a Cache<C>) -> &'a Self::Coder {
        &self.0
    }

    fn handle(self, cache: &Cache<C>) -> Cache<Self::Coder> {
        cache.with_coder(self.0)
    }
}
