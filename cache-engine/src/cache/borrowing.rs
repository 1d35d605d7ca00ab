//! Looks up a value, or loads it with a loader that borrows.

use std::borrow::Borrow;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use cache_core::{Coder, Key};

use crate::cache::get_or_load::{Obtained, present, value};
use crate::cache::handle::Cache;
use crate::cache::key::IntoKey;
use crate::load::call::Accepts;
use crate::load::context::{Load, Loaded};
use crate::load::error::LoadError;
use crate::load::launch::load_uncached;

impl<C: Send + Sync + 'static> Cache<C> {
    /// Returns a view of this cache for loads that borrow from their caller.
    #[must_use]
    pub fn borrowing(&self) -> Borrowing<'_, C> {
        Borrowing { cache: self }
    }
}

/// A view of a cache for loads that borrow from their caller; see [`Cache::borrowing`].
///
/// Such a load runs in its caller's task. If the caller leaves, one of the waiting callers runs its own load instead,
/// so no caller waits in vain. A stale value is refreshed by one caller, which waits for it, since no other task could
/// run its load. All other callers get the stale value at once. The refreshing caller waits for its own load as long as
/// the load takes: [`soft_timeout`](crate::Policy::soft_timeout) applies only to callers that wait for another caller's
/// load. A panic continues in the caller whose load it is. One of the waiting callers then runs its own load.
#[derive(Debug)]
pub struct Borrowing<'a, C> {
    cache: &'a Cache<C>,
}

impl<C: Send + Sync + 'static> Borrowing<'_, C> {
    /// Like [`Cache::get_or_load`].
    ///
    /// # Errors
    /// As [`Cache::get_or_load`].
    pub async fn get_or_load<T, E, F, Fut>(&self, key: impl IntoKey, load: F) -> Result<Arc<T>, LoadError<E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let key = key.into_key(&self.cache.namespace);
        let load = |_| async move { load().await.map(Loaded::new) };
        present(self.obtain(key.borrow(), Accepts::default(), load).await)
    }

    /// Like [`Cache::get_or_load_with`].
    ///
    /// # Errors
    /// As [`Cache::get_or_load`].
    pub async fn get_or_load_with<T, E, F, Fut>(
        &self,
        key: impl IntoKey,
        load: F,
    ) -> Result<Option<Arc<T>>, LoadError<E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut,
        Fut: Future<Output = Result<Loaded<T>, E>>,
    {
        let key = key.into_key(&self.cache.namespace);
        self.obtain(
            key.borrow(),
            Accepts {
                negative: true,
                except: None,
                needs_error: false,
            },
            load,
        )
        .await
    }

    /// Like [`Cache::get_or_load_optional`].
    ///
    /// # Errors
    /// As [`Cache::get_or_load`].
    pub async fn get_or_load_optional<T, E, F, Fut>(
        &self,
        key: impl IntoKey,
        find: F,
    ) -> Result<Option<Arc<T>>, LoadError<E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<T>, E>>,
    {
        let load = |_: Load<T>| async move { Ok(find().await?.map_or_else(Loaded::absent, Loaded::new)) };
        self.get_or_load_with(key, load).await
    }

    async fn obtain<T, E, F, Fut>(&self, key: &Key, accepts: Accepts, load: F) -> Obtained<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut,
        Fut: Future<Output = Result<Loaded<T>, E>>,
    {
        let cache = self.cache;
        let started = match cache.read_or_bypass::<T, E>(key) {
            ControlFlow::Break(value) => return Ok(Some(value)),
            ControlFlow::Continue(started) => started,
        };
        match cache.finish(key, started).await {
            Some(ControlFlow::Break(value)) => Ok(Some(value)),
            Some(ControlFlow::Continue(reading)) => {
                value(Box::pin(cache.engine.load_borrowing(key, reading, accepts, load)).await)
            }
            None => {
                cache.engine.contribute_uncoalesced().await;
                value(load_uncached(key, load).await)
            }
        }
    }
}
