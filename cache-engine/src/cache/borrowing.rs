//! Look up, and load what is missing with a loader that borrows.

use std::borrow::Borrow;
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use cache_core::{Coder, Key};

use crate::cache::get_or_load::{Glance, Obtained, alone, present, value};
use crate::cache::handle::Cache;
use crate::cache::key::IntoKey;
use crate::load::acquire::Prepared;
use crate::load::context::{Load, Loaded};
use crate::load::error::LoadError;
use crate::load::fill::Outcome;
use crate::load::run::Flown;
use crate::load::stack::LoadStack;
use crate::load::step::{Ask, Take};
use crate::tier::read::Read;

impl<C: Send + Sync + 'static> Cache<C> {
    /// A view of this cache for loads that borrow from their caller.
    #[must_use]
    pub fn borrowing(&self) -> Borrowing<'_, C> {
        Borrowing { cache: self }
    }
}

/// A view of a cache for loads that borrow from their caller; see [`Cache::borrowing`].
///
/// Such a load runs in its caller's task. If the caller goes away, one of those who wait runs its own load instead, so
/// nobody is left waiting. A value past its freshness is refreshed by one caller, who waits for it, since nobody else
/// could run its load; all others are answered at once. That caller waits for its own load as long as it takes:
/// [`soft_timeout`](crate::Policy::soft_timeout) is for those who wait for another's. A panic goes on in the caller whose load it is, and reaches
/// those who waited as [`LoadError::Panicked`].
#[derive(Debug)]
pub struct Borrowing<'a, C> {
    cache: &'a Cache<C>,
}

impl<C: Send + Sync + 'static> Borrowing<'_, C> {
    /// As [`Cache::get_or_load`].
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
        present(self.obtain(key.borrow(), Ask::default(), load).await)
    }

    /// As [`Cache::get_or_load_with`].
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
            Ask {
                absent: true,
                not: None,
            },
            load,
        )
        .await
    }

    /// As [`Cache::get_or_load_optional`].
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

    async fn obtain<T, E, F, Fut>(&self, key: &Key, ask: Ask, load: F) -> Obtained<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut,
        Fut: Future<Output = Result<Loaded<T>, E>>,
    {
        let cache = self.cache;
        match cache.glance(key).await {
            Glance::Hit(value) => Ok(Some(value)),
            Glance::Off => value(alone(key, load).await),
            Glance::Read(seen) => value(Box::pin(self.obtain_unless(key, seen, ask, load)).await),
        }
    }

    /// Loads what was not seen fresh, in the caller's own task.
    pub(crate) async fn obtain_unless<T, E, F, Fut>(&self, key: &Key, seen: Read<T>, ask: Ask, load: F) -> Outcome<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut,
        Fut: Future<Output = Result<Loaded<T>, E>>,
    {
        let cache = self.cache;
        let launch = |take: Option<Take<T, E>>| async move {
            let Some(take) = take else {
                return alone(key, load).await;
            };
            match cache.engine.prepare(take, ask).await {
                Prepared::Answered(outcome) => outcome,
                Prepared::Go(fill) => match cache.engine.fly(fill, LoadStack::current(), load).await {
                    Flown::Landed(outcome) => outcome,
                    Flown::Panicked(_, panic) => resume_unwind(panic),
                },
            }
        };
        cache.engine.drive(key, seen, ask, false, launch).await
    }
}
