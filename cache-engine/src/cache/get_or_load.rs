//! Look up, and load what is missing.

use std::borrow::Borrow;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use cache_core::{Coder, Key};

use crate::cache::handle::Cache;
use crate::cache::key::IntoKey;
use crate::event::Event;
use crate::load::call::Accepts;
use crate::load::context::{Load, Loaded};
use crate::load::error::LoadError;
use crate::load::fill::Outcome;
use crate::load::launch::load_uncached;
use crate::tier::read::Read;

impl<C: Send + Sync + 'static> Cache<C> {
    /// The value of a key; `load` brings it if there is none.
    ///
    /// Of all callers of a missing key at the same time, in all processes on the store, one loads and the others wait
    /// for its value. The load owns what it uses and belongs to no caller: once begun it runs to its end in a task of
    /// its own, so dropping the returned future takes nothing from anybody else. A value past its freshness is
    /// answered at once while the load runs in the background, as far as
    /// [`stale_while_revalidate`](crate::Policy::stale_while_revalidate) goes.
    ///
    /// Loads that borrow from their caller go through [`borrowing`](Self::borrowing).
    ///
    /// # Errors
    /// The load failed and there is no stale copy to fall back to; see [`LoadError`]. Never because of the store.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct User { name: String }
    /// # #[derive(Debug)] struct DbError;
    /// # impl std::fmt::Display for DbError { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
    /// # async fn load_user(id: u32) -> Result<User, DbError> { Ok(User { name: "Ada".into() }) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let users = Cache::builder(MemoryBackend::default()).build().with_namespace("users");
    /// let ada = users.get_or_load("42", || load_user(42)).await?;
    /// assert_eq!(ada.name, "Ada");
    /// # Ok(()) }
    /// ```
    pub async fn get_or_load<T, E, F, Fut>(&self, key: impl IntoKey, load: F) -> Result<Arc<T>, LoadError<E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let key = key.into_key(&self.namespace);
        let load = |_| async move { load().await.map(Loaded::new) };
        present(self.obtain(key.borrow(), Accepts::default(), load).await)
    }

    /// As [`get_or_load`](Self::get_or_load), for a loader that sees the [stale value](Load::stale) it replaces, and
    /// says how its value is to be kept, or that there is none, by a [`Loaded`].
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_with<T, E, F, Fut>(
        &self,
        key: impl IntoKey,
        load: F,
    ) -> Result<Option<Arc<T>>, LoadError<E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        let key = key.into_key(&self.namespace);
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

    /// As [`get_or_load`](Self::get_or_load), for something that may not exist. That it does not is remembered for
    /// [`Policy::negative_ttl`](crate::Policy::negative_ttl).
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_optional<T, E, F, Fut>(
        &self,
        key: impl IntoKey,
        find: F,
    ) -> Result<Option<Arc<T>>, LoadError<E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<T>, E>> + Send + 'static,
    {
        let load = |_: Load<T>| async move { Ok(find().await?.map_or_else(Loaded::absent, Loaded::new)) };
        self.get_or_load_with(key, load).await
    }

    /// Loads the value of a key anew, however fresh it is, and replaces it. Callers of the other methods are answered
    /// with the old value meanwhile, as long as it is usable. If the key is being loaded already, that load's value is
    /// taken. The [soft timeout](crate::Policy::soft_timeout) does not make a value that is fresh, or usable while it
    /// is revalidated, the answer.
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn refresh<T, E, F, Fut>(&self, key: impl IntoKey, load: F) -> Result<Arc<T>, LoadError<E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        let load = |_| async move { load().await.map(Loaded::new) };
        if !self.is_enabled() {
            return present(value(load_uncached(key, load).await));
        }
        let read = self.engine.shared.tier.read_store(key, &*self.engine.coder).await;
        let except = match &read {
            Read::Fresh(_, version) | Read::Stale(_, version) | Read::FailedLoad(_, _, version) => Some(*version),
            _ => None,
        };
        let accepts = Accepts {
            negative: false,
            except,
            needs_error: false,
        };
        present(value(self.engine.load_detached(key, read, accepts, load).await))
    }

    #[inline]
    async fn obtain<T, E, F, Fut>(&self, key: &Key, accepts: Accepts, load: F) -> Obtained<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        match self.read_or_bypass(key).await {
            Some(ControlFlow::Break(value)) => Ok(Some(value)),
            // The rest is boxed, so that a hit does not carry its weight.
            Some(ControlFlow::Continue(read)) => {
                value(Box::pin(self.engine.load_detached(key, read, accepts, load)).await)
            }
            None => value(load_uncached(key, load).await),
        }
    }

    /// Reads a fresh value, which is a hit. `None` if the cache is switched off.
    #[inline]
    pub(super) async fn read_or_bypass<T>(&self, key: &Key) -> Option<ControlFlow<Arc<T>, Read<T>>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return None;
        }
        let read = self.engine.shared.tier.read_fresh(key, &*self.engine.coder).await;
        if read.is_break() {
            self.engine.shared.events.emit(&Event::Hit { key });
        }
        Some(read)
    }
}

/// What a caller gets.
pub(super) type Obtained<T, E> = Result<Option<Arc<T>>, LoadError<E>>;

pub(super) fn value<T, E>(outcome: Outcome<T, E>) -> Obtained<T, E> {
    outcome.map(|found| found.map(|found| found.value))
}

pub(super) fn present<T, E>(obtained: Obtained<T, E>) -> Result<Arc<T>, LoadError<E>> {
    match obtained {
        Ok(Some(value)) => Ok(value),
        Err(error) => Err(error),
        // "There is no value" is only answered to those who take it for an answer, and to the load that said so.
        Ok(None) => Err(LoadError::Remembered("there is no value".into())),
    }
}
