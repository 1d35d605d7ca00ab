//! The cache that `#[cached]` uses when none is named. It is the only process-wide state of the toolkit.

use std::fmt;
use std::sync::OnceLock;

use crate::cache::handle::Cache;

static DEFAULT: OnceLock<Cache> = OnceLock::new();

/// Sets the cache that `#[cached]` and `#[invalidates]` use where no `cache = …` is named. Call this once, before the
/// first such function is called, usually at the start of `main`.
///
/// A function that needs the default cache while there is none panics with a message that says so. If it ran uncached
/// silently, you would notice only under load. A library should take a `Cache` from its user and name it instead.
///
/// # Errors
/// A default is already set. It remains unchanged.
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

/// Returns the cache that [`set_default_cache`] set.
#[must_use]
pub fn default_cache() -> Option<&'static Cache> {
    DEFAULT.get()
}

/// The error of [`set_default_cache`] if a default is already set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultCacheIsSet;

impl fmt::Display for DefaultCacheIsSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the default cache is set already, and stays as it is")
    }
}

impl std::error::Error for DefaultCacheIsSet {}
