//! The cache that `#[cached]` uses when none is named: the only state of the process that the toolkit has.

use std::fmt;
use std::sync::OnceLock;

use crate::cache::handle::Cache;

static DEFAULT: OnceLock<Cache> = OnceLock::new();

/// Sets the cache that `#[cached]` and `#[invalidates]` use where no `cache = …` is named. It is set once, before the
/// first such function is called, usually first thing in `main`.
///
/// A function that needs the default while there is none panics, and says so: to run uncached in silence would only
/// show under load. A library should take a `Cache` from its user and name it instead.
///
/// # Errors
/// A default is set already; it stays as it is.
///
/// ```
/// use cache_engine::{Cache, default_cache, set_default_cache};
/// use cache_memory::MemoryBackend;
///
/// set_default_cache(Cache::builder(MemoryBackend::default()).build())?;
/// assert!(default_cache().is_some());
/// # Ok::<(), cache_engine::DefaultCacheIsSet>(())
/// ```
pub fn set_default_cache(cache: Cache) -> Result<(), DefaultCacheIsSet> {
    DEFAULT.set(cache).map_err(|_| DefaultCacheIsSet)
}

/// The cache that [`set_default_cache`] set.
#[must_use]
pub fn default_cache() -> Option<&'static Cache> {
    DEFAULT.get()
}

/// What [`set_default_cache`] answers when a default is set already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultCacheIsSet;

impl fmt::Display for DefaultCacheIsSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the default cache is set already, and stays as it is")
    }
}

impl std::error::Error for DefaultCacheIsSet {}
