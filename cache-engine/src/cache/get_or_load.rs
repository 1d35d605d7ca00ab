//! Looks up a value, or loads it.

use std::borrow::Borrow;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use cache_core::{Coder, Key};

use crate::cache::handle::Cache;
use crate::cache::key::IntoKey;
use crate::load::call::Accepts;
use crate::load::context::{Load, Loaded};
use crate::load::error::LoadError;
use crate::load::fill::Outcome;
use crate::load::flight::ResultType;
use crate::load::launch::load_uncached;
use crate::load::reading::Reading;
use crate::tier::read::Boxed;

impl<C: Send + Sync + 'static> Cache<C> {
    /// Returns the value of a key. If there is none, `load` brings it.
    ///
    /// If several callers request a missing key at the same time, in all processes on the store, one loads and the
    /// others wait for its value. The load owns what it uses and belongs to no caller. Once begun, it runs to its end
    /// in a task of its own, so dropping the returned future affects no other caller. During
    /// [`stale_while_revalidate`](crate::Policy::stale_while_revalidate), a stale value is returned at once, while the
    /// load runs in the background.
    ///
    /// For loads that borrow from their caller, use [`borrowing`](Self::borrowing).
    ///
    /// # Errors
    /// The load failed, and there is no stale copy to fall back to; see [`LoadError`]. Never fails because of the
    /// store.
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
        let key = key.borrow();
        let started = match self.read_or_bypass::<T, E>(key) {
            ControlFlow::Break(value) => return Ok(value),
            ControlFlow::Continue(started) => started,
        };
        let load = |_| async move { load().await.map(Loaded::new) };
        present(self.obtain(key, started, Accepts::default(), load).await)
    }

    /// Like [`get_or_load`](Self::get_or_load), for a loader that sees the [stale value](Load::stale) it replaces. With
    /// a [`Loaded`], the loader says how its value is to be stored, or that there is none.
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
        let key = key.borrow();
        let started = match self.read_or_bypass::<T, E>(key) {
            ControlFlow::Break(value) => return Ok(Some(value)),
            ControlFlow::Continue(started) => started,
        };
        let accepts = Accepts {
            negative: true,
            except: None,
            needs_error: false,
        };
        self.obtain(key, started, accepts, load).await
    }

    /// Like [`get_or_load`](Self::get_or_load), for a value that may not exist. If it does not exist, that is stored
    /// for [`Policy::negative_ttl`](crate::Policy::negative_ttl).
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

    /// Loads the value of a key again, even if it is fresh, and replaces it. Meanwhile, callers of the other methods
    /// get the old value, as long as it is usable. If the key is already being loaded, returns the value of that load.
    /// After the [soft timeout](crate::Policy::soft_timeout), this method does not return a value that is fresh, or
    /// usable while it is revalidated.
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
        if !self.engine.shared.is_used() {
            self.report_unused();
            self.engine.contribute_uncoalesced().await;
            return present(value(load_uncached(key, load).await));
        }
        let read = self.engine.shared.tier.read_store(key, &*self.engine.coder).await;
        let accepts = Accepts {
            negative: false,
            except: read.version(),
            needs_error: false,
        };
        present(value(self.engine.load_detached(key, read.into(), accepts, load).await))
    }

    async fn obtain<'a, T, E, F, Fut>(
        &'a self,
        key: &'a Key,
        started: Started<'a, T>,
        accepts: Accepts,
        load: F,
    ) -> Obtained<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        match self.finish(key, started).await {
            Some(ControlFlow::Break(value)) => Ok(Some(value)),
            // The rest is boxed, to keep the future of a hit small.
            Some(ControlFlow::Continue(reading)) => {
                value(Box::pin(self.engine.load_detached(key, reading, accepts, load)).await)
            }
            None => {
                self.engine.contribute_uncoalesced().await;
                value(load_uncached(key, load).await)
            }
        }
    }

    /// Breaks with a fresh value that can be read without waiting, and reports it as a hit. Continues with a read that is
    /// to be [finished](Self::finish). No other future is involved in a hit, since moving its parts from one to the next would
    /// cost as much as the store.
    #[inline]
    pub(super) fn read_or_bypass<'a, T, E>(&'a self, key: &'a Key) -> ControlFlow<Arc<T>, Started<'a, T>>
    where
        T: Send + Sync + 'static,
        E: 'static,
        C: Coder<T>,
    {
        let engine = &self.engine;
        let shared = &engine.shared;
        let is_used = shared.is_used();
        if engine.on_hit.is_some() || !is_used || engine.contributes() {
            return ControlFlow::Continue(self.read_specially::<T, E>(key, is_used));
        }
        match shared.tier.read_now(key, engine.coder.type_version()) {
            ControlFlow::Break((value, tier)) => {
                self.report_hit(key, tier);
                ControlFlow::Break(value)
            }
            ControlFlow::Continue(read) => {
                let result = self.result_type::<T, E>();
                let reading = shared.read_to_load(read, key, &*engine.coder, &engine.tags, result);
                ControlFlow::Continue(Started::Plain(reading))
            }
        }
    }

    /// Starts a read for which more is to be done than to return a fresh value.
    #[inline(never)]
    fn read_specially<'a, T, E>(&'a self, key: &'a Key, is_used: bool) -> Started<'a, T>
    where
        T: Send + Sync + 'static,
        E: 'static,
        C: Coder<T>,
    {
        if !is_used {
            self.report_unused();
            return Started::Bypassed;
        }
        let engine = &self.engine;
        let (shared, coder, tags) = (&engine.shared, &*engine.coder, &engine.tags);
        let result = self.result_type::<T, E>();
        match engine.on_hit {
            Some(on_hit) => Started::Watched(shared.read_watching(key, coder, tags, result, on_hit)),
            None => Started::Plain(shared.read_within(key, coder, tags, result)),
        }
    }

    fn result_type<T, E>(&self) -> Option<ResultType>
    where
        T: Send + Sync + 'static,
        E: 'static,
        C: Coder<T>,
    {
        Some(ResultType::of::<Outcome<T, E>>(self.engine.coder.type_version()))
    }

    /// Finishes a read. Breaks with a fresh value, and reports it as a hit. Returns `None` if the cache is switched off or
    /// bypassed.
    pub(super) async fn finish<T>(&self, key: &Key, started: Started<'_, T>) -> Option<ControlFlow<Arc<T>, Reading<T>>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        Some(match started {
            Started::Bypassed => return None,
            Started::Plain(reading) => match reading.await.into_fresh() {
                ControlFlow::Break((value, tier)) => {
                    self.report_hit(key, tier);
                    ControlFlow::Break(value)
                }
                ControlFlow::Continue(reading) => ControlFlow::Continue(reading),
            },
            Started::Watched(reading) => match reading.await.or_hit() {
                ControlFlow::Break(found) => {
                    self.engine.hit(key, &found);
                    ControlFlow::Break(found.value)
                }
                ControlFlow::Continue(reading) => ControlFlow::Continue(reading),
            },
        })
    }
}

/// A read that found no fresh value without waiting.
pub(super) enum Started<'a, T> {
    /// The cache is switched off or bypassed.
    Bypassed,
    /// A fresh value answers the call.
    Plain(Boxed<'a, Reading<T>>),
    /// The policy may do something about a fresh value.
    Watched(Boxed<'a, Reading<T>>),
}

/// The result that a caller gets.
pub(super) type Obtained<T, E> = Result<Option<Arc<T>>, LoadError<E>>;

pub(super) fn value<T, E>(outcome: Outcome<T, E>) -> Obtained<T, E> {
    outcome.map(|found| found.map(|found| found.value))
}

pub(super) fn present<T, E>(obtained: Obtained<T, E>) -> Result<Arc<T>, LoadError<E>> {
    match obtained {
        Ok(Some(value)) => Ok(value),
        Err(error) => Err(error),
        // "There is no value" is returned only to callers that accept it, and to the load that reported it.
        Ok(None) => Err(LoadError::Remembered("there is no value".into())),
    }
}
