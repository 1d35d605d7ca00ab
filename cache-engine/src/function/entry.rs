//! The entry of one call.

use std::future::{Future, Ready};

use cache_core::{Error, Key};

use super::ask::{Asking, What};
use crate::cache::handle::Cache;

/// The cache entry of a call of a `#[cached]` function.
///
/// Beside a function `find`, `#[cached]` generates `find_entry`, which takes the same arguments and returns this. It runs
/// nothing until one of its methods is called. [`get`](Self::get), [`set`](Self::set) and [`refresh`](Self::refresh) make
/// the call, with the coder, the policy and the tags of the function, so they consume the entry.
///
/// ```
/// use cache_engine::{Cache, cached};
/// # use cache_memory::MemoryBackend;
///
/// #[cached(cache = cache, skip(cache))]
/// async fn find(cache: &Cache, id: u64) -> std::io::Result<String> {
///     Ok(format!("item {id}"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder(MemoryBackend::default()).build();
/// assert!(find_entry(&cache, 7).get().await?.is_none());
///
/// find_entry(&cache, 7).set("a new item".to_owned()).await?;
/// assert_eq!(find(&cache, 7).await?, "a new item");
///
/// assert_eq!(find_entry(&cache, 7).refresh().await?, "item 7"); // runs the function
/// find_entry(&cache, 7).invalidate().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "an entry does nothing until one of its methods is called"]
pub struct CachedEntry<F = Ready<()>> {
    pub(super) cache: Cache<()>,
    pub(super) key: Result<Key, Error>,
    /// The call, which has not begun.
    call: F,
}

impl CachedEntry {
    #[doc(hidden)]
    pub fn new<C>(cache: &Cache<C>, key: Result<Key, Error>) -> Self {
        Self {
            cache: cache.with_coder(()),
            key,
            call: std::future::ready(()),
        }
    }

    #[doc(hidden)]
    pub fn of_call<F: Future>(self, call: F) -> CachedEntry<F> {
        CachedEntry {
            cache: self.cache,
            key: self.key,
            call,
        }
    }
}

impl<F> CachedEntry<F> {
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

impl<F: Future> CachedEntry<F> {
    /// Returns the result that the call would return without running the function: a fresh value, or `None` if that is
    /// remembered. It has the type that the function returns, such as `Ok(value)`. Returns `None` if there is no such result,
    /// if the call is not cached, or if the cache is switched off or [bypassed](crate::bypass).
    ///
    /// Counts as a request, like the call itself. Dropping the future has no effect.
    ///
    /// # Errors
    /// The store could not be read; or as [`key`](Self::key).
    pub async fn get(self) -> Result<Option<F::Output>, Error> {
        Asking::new(self.call, What::Stored).await
    }

    /// Runs the function and replaces what is stored, even if it is fresh, as [`Cache::refresh`] does. Meanwhile, other
    /// callers get the old value, as long as it is usable. If the entry is being loaded already, returns the result of that
    /// load. Returns what the function returns; if it fails, what is stored stays.
    ///
    /// If you drop the future, the run is dropped or goes on, as that of the call would.
    pub async fn refresh(self) -> F::Output {
        match Asking::new(self.call, What::Anew).await {
            Ok(Some(output)) => output,
            // Nothing ends such a call without its own result.
            _ => std::future::pending().await,
        }
    }

    /// Stores a result, as if the call had just returned it, over any existing one. Takes a value, or all that the function
    /// can return: for a function that returns `Result<Option<User>, E>`, a `User`, or `Ok(None)`.
    ///
    /// A load of the entry that is under way is fenced: its value does not replace this one. The function's tags are
    /// captured now; if one of them may have been invalidated since the value was read, use [`refresh`](Self::refresh).
    ///
    /// What the function would not store is not stored. A value that `store_if` refuses, and a `None` that is not
    /// remembered, remove what is stored, which is outdated. An `Err` leaves it as it is. If the cache is switched off, or
    /// the call is not cached, nothing happens.
    ///
    /// # Errors
    /// The store did not answer, or refused the write, or the value cannot be encoded; or as [`key`](Self::key).
    pub async fn set<V>(self, value: V) -> Result<(), Error>
    where
        F::Output: ResultOf<V> + Send + 'static,
    {
        let result = <F::Output as ResultOf<V>>::from_part(value);
        Asking::new(self.call, What::Store(Box::new(result))).await.map(drop)
    }
}

/// The types that a `#[cached]` function returns, by what [`CachedEntry::set`] takes for them: `T` itself, and its value
/// in an `Option`, a `Result`, or a `Result` of an `Option`.
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` has no result `{V}`",
    label = "neither its value, nor what it returns"
)]
pub trait ResultOf<V> {
    /// Returns the result with this value.
    fn from_part(value: V) -> Self;
}

impl<R> ResultOf<R> for R {
    fn from_part(value: R) -> R {
        value
    }
}

impl<V> ResultOf<V> for Option<V> {
    fn from_part(value: V) -> Self {
        Some(value)
    }
}

impl<V, E> ResultOf<V> for Result<V, E> {
    fn from_part(value: V) -> Self {
        Ok(value)
    }
}

impl<V, E> ResultOf<V> for Result<Option<V>, E> {
    fn from_part(value: V) -> Self {
        Ok(Some(value))
    }
}
