//! Look up, and load what is missing.

use std::borrow::Borrow;
use std::future::Future;
use std::sync::Arc;

use cache_core::{Coder, Key};

use crate::cache::handle::Cache;
use crate::cache::key::IntoKey;
use crate::event::Event;
use crate::load::acquire::Prepared;
use crate::load::context::{Load, Loaded};
use crate::load::error::LoadError;
use crate::load::fill::Outcome;
use crate::load::stack::LoadStack;
use crate::load::step::{Ask, Take};
use crate::store::record::Found;
use crate::tags::scope::Tagger;
use crate::tier::read::{Glimpse, Read};

impl<C: Send + Sync + 'static> Cache<C> {
    /// The value of a key; `load` brings it if there is none.
    ///
    /// Of all who ask for a missing key at the same time, in all processes on the store, one loads and the others wait
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
        present(self.obtain(key.borrow(), Ask::default(), load).await)
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
            Ask {
                absent: true,
                not: None,
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
            return present(value(alone(key, load).await));
        }
        let seen = self.engine.shared.tier.see(key, &*self.engine.coder).await;
        let not = match &seen {
            Read::Fresh(_, version) | Read::Usable(_, version) | Read::Failed(_, _, version) => Some(*version),
            _ => None,
        };
        let launch = |take| self.launch_detached(key, take, Ask { absent: false, not }, load);
        present(value(
            self.engine
                .drive(key, seen, Ask { absent: false, not }, true, launch)
                .await,
        ))
    }

    #[inline]
    async fn obtain<T, E, F, Fut>(&self, key: &Key, ask: Ask, load: F) -> Obtained<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        match self.glance(key).await {
            Glance::Hit(value) => Ok(Some(value)),
            Glance::Off => value(alone(key, load).await),
            // The rest is boxed, so that a hit does not carry its weight.
            Glance::Read(seen) => value(Box::pin(self.obtain_unless(key, seen, ask, load)).await),
        }
    }

    /// Loads what was not seen fresh, in a task of its own.
    pub(crate) async fn obtain_unless<T, E, F, Fut>(&self, key: &Key, seen: Read<T>, ask: Ask, load: F) -> Outcome<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        let launch = |take| self.launch_detached(key, take, ask, load);
        self.engine.drive(key, seen, ask, true, launch).await
    }

    #[inline]
    pub(super) async fn glance<T>(&self, key: &Key) -> Glance<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return Glance::Off;
        }
        match self.engine.shared.tier.glimpse(key, &*self.engine.coder).await {
            Ok(Glimpse::Fresh(value)) => {
                self.engine.shared.events.emit(&Event::Hit { key });
                Glance::Hit(value)
            }
            Ok(Glimpse::Other(seen)) => Glance::Read(seen),
            Err(_) => Glance::Read(Read::Outage),
        }
    }

    /// Starts the load in a task of its own, and gives the future that waits for it.
    fn launch_detached<T, E, F, Fut>(
        &self,
        key: &Key,
        take: Option<Take<T, E>>,
        ask: Ask,
        load: F,
    ) -> impl Future<Output = Outcome<T, E>> + use<T, E, F, Fut, C>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        let (send, receive) = tokio::sync::oneshot::channel();
        let (cache, key) = (self.clone(), key.clone());
        let outer = LoadStack::current();
        let task = async move {
            let outcome = match take {
                None => alone(&key, load).await,
                Some(take) => match cache.engine.prepare(take, ask).await {
                    Prepared::Answered(outcome) => outcome,
                    Prepared::Go(fill) => cache.engine.fly(fill, outer, load).await.into_outcome(),
                },
            };
            // Whoever started it may have gone away.
            let _ = send.send(outcome);
        };
        self.engine
            .shared
            .tasks
            .spawn(tracing::Instrument::in_current_span(task));
        async move {
            let gone = || {
                Err(LoadError::Panicked(
                    "the task of the load was ended, by a panic outside of the loader or with its runtime".into(),
                ))
            };
            receive.await.unwrap_or_else(|_| gone())
        }
    }
}

pub(super) enum Glance<T> {
    Hit(Arc<T>),
    Read(Read<T>),
    /// The cache is switched off.
    Off,
}

/// Loads for one caller and keeps nothing.
pub(super) async fn alone<T, E, F, Fut>(key: &Key, load: F) -> Outcome<T, E>
where
    F: FnOnce(Load<T>) -> Fut,
    Fut: Future<Output = Result<Loaded<T>, E>>,
{
    match load(Load::new(key.clone(), None, Tagger::default())).await {
        Ok(loaded) => Ok(loaded.value.map(Found::unkept)),
        Err(error) => Err(LoadError::Failed(Arc::new(error))),
    }
}

/// What a caller is given.
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
