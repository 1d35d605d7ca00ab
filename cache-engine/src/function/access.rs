//! Which cache and which coder a function uses.

use std::borrow::Borrow;
use std::ops::Deref;
use std::time::Duration;

use cache_core::Coder;

use crate::cache::handle::Cache;

/// What `cache = …` may name: a [`Cache`], or whatever dereferences to one.
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

/// The cache that an expression leads to.
pub fn as_cache<A: AsCache + ?Sized>(cache: &A) -> &Cache<A::Coder> {
    cache.as_cache()
}

/// The default cache.
///
/// # Panics
/// There is none.
#[must_use]
#[track_caller]
pub fn default_cache(module: &str, function: &str) -> &'static Cache {
    match crate::cache::default_cache::default_cache() {
        Some(cache) => cache,
        None => panic!(
            "`{module}::{function}` is to use the default cache, and none is set: call \
             `cache_engine::set_default_cache` before, or name a cache with `cache = …`"
        ),
    }
}

/// A coder that takes the values of a function.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be stored: the coder `{Self}` does not take it",
    label = "returned by a function that is cached",
    note = "for the usual `Json`, a value must implement `serde::Serialize` and `serde::de::DeserializeOwned`",
    note = "name another coder with `coder = …`"
)]
pub trait Codes<T>: Coder<T> {}

#[diagnostic::do_not_recommend]
impl<T, D: Coder<T>> Codes<T> for D {}

/// What `ttl` and `negative` may be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a time",
    label = "not a `Duration`",
    note = "write a text with a unit, such as \"60s\", or an expression that gives a `Duration` or an `Option` of one"
)]
pub trait Time {
    fn time(self) -> Option<Duration>;
}

impl Time for Duration {
    fn time(self) -> Option<Duration> {
        Some(self)
    }
}

impl Time for Option<Duration> {
    fn time(self) -> Self {
        self
    }
}

/// A time, or none.
#[must_use]
pub fn time<T: Time>(time: T) -> Option<Duration> {
    time.time()
}

/// Where the coder comes from.
pub trait Coding<C> {
    type Coder: Send + Sync + 'static;

    fn coder<'a>(&'a self, cache: &'a Cache<C>) -> &'a Self::Coder;

    /// A handle with this coder.
    fn handle(self, cache: &Cache<C>) -> Cache<Self::Coder>;
}

/// The cache's own coder.
#[derive(Debug, Clone, Copy)]
pub struct OwnCoder;

impl<C: Send + Sync + 'static> Coding<C> for OwnCoder {
    type Coder = C;

    fn coder<'a>(&'a self, cache: &'a Cache<C>) -> &'a C {
        cache.coder()
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

/// What a load that outlives its caller takes along of what it borrows: a clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is borrowed by a load that outlives the call, and cannot be cloned for it",
    label = "borrowed here, and must be `Clone + Send + Sync + 'static`",
    note = "with `stale` or `detached`, the load goes on when the call has ended, so it clones what it borrows",
    note = "make the type `Clone`, take an `Arc`, or write `detached = false`: one caller then waits for the refresh"
)]
pub trait Own: ToOwned {}

#[diagnostic::do_not_recommend]
impl<T> Own for T
where
    T: ToOwned + ?Sized,
    T::Owned: Send + Sync + 'static,
{
}

/// A clone.
#[must_use]
pub fn own<T: Own + ?Sized>(borrowed: &T) -> T::Owned {
    borrowed.to_owned()
}

/// What was borrowed, of a clone.
#[must_use]
pub fn borrow<T: ?Sized, O: Borrow<T>>(owned: &O) -> &T {
    owned.borrow()
}
