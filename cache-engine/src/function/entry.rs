//! The entry of one call, without calling the function.

use cache_core::{Error, Key};

use crate::cache::handle::Cache;

/// The cache entry of a call of a `#[cached]` function.
///
/// Beside a function `find`, `#[cached]` generates `find_entry`, which takes the same arguments and returns this.
///
/// ```
/// use cache_engine::{Cache, cached};
/// # use cache_memory::MemoryBackend;
///
/// #[cached(cache = cache, skip(cache))]
/// async fn find(cache: &Cache, id: u64) -> String {
///     format!("item {id}")
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder(MemoryBackend::default()).build();
/// find(&cache, 7).await;
/// find_entry(&cache, 7).invalidate().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "an entry does nothing until one of its methods is called"]
pub struct CachedEntry {
    pub(super) cache: Cache<()>,
    pub(super) key: Result<Key, Error>,
}

impl CachedEntry {
    #[doc(hidden)]
    pub fn new<C>(cache: &Cache<C>, key: Result<Key, Error>) -> Self {
        Self {
            cache: cache.with_coder(()),
            key,
        }
    }

    /// Returns the entry's key.
    ///
    /// # Errors
    /// Returns an error if an argument has no serial form. Such a call is not cached.
    pub fn key(&self) -> Result<&Key, Error> {
        self.key.as_ref().map_err(Clone::clone)
    }

    /// Invalidates the entry, as [`Cache::invalidate`] does.
    ///
    /// # Errors
    /// As [`Cache::invalidate`], and as [`key`](Self::key).
    pub async fn invalidate(&self) -> Result<(), Error> {
        self.cache.invalidate(self.key()?).await
    }

    /// Invalidates the entry softly, as [`Soft::invalidate`](crate::Soft::invalidate) does.
    ///
    /// # Errors
    /// As [`Soft::invalidate`](crate::Soft::invalidate), and as [`key`](Self::key).
    pub async fn invalidate_soft(&self) -> Result<(), Error> {
        self.cache.soft().invalidate(self.key()?).await
    }
}
