//! Look up several keys at once, and load what is missing in one go.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use cache_core::{Coder, Key};
use futures_util::{FutureExt, StreamExt, stream};

use crate::cache::handle::Cache;
use crate::event::LoadFailure;
use crate::load::backoff::Backoff;
use crate::load::context::Loaded;
use crate::load::error::LoadError;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::{Landing, Moment, Waited};
use crate::load::run::panic_message;
use crate::load::stack::LoadStack;
use crate::load::step::{Ask, Step, Take};
use crate::load::waiting::Waiting;
use crate::store::changes::ChangeListener;
use crate::tags::scope::Tagger;
use crate::tier::read::Read;

/// How many calls of the store one batch makes at a time, beyond the one that reads it.
const AT_A_TIME: usize = 64;

const ASK: Ask = Ask {
    absent: true,
    not: None,
};

impl<C: Send + Sync + 'static> Cache<C> {
    /// The values of several ids, each under the key that it is displayed as; `load` brings those that are missing.
    ///
    /// The store is read in one batch, and `load` is called once with the ids that were missing, without those that
    /// another caller is loading already. It answers with the values that exist; that the others do not is remembered
    /// for [`Policy::negative_ttl`](crate::Policy::negative_ttl). It is called again only if ids that it was not given
    /// at first, because another caller was loading them, remain without an answer. Everything else is as with
    /// [`get_or_load`](Self::get_or_load).
    ///
    /// # Errors
    /// The load of any of the ids failed; values that were loaded are stored all the same.
    ///
    /// ```
    /// # use std::{collections::HashMap, convert::Infallible};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let squares = Cache::builder(MemoryBackend::default()).build().with_namespace("squares");
    /// squares.set("2", 4_u32).await?;
    /// let load = |missing: Vec<u32>| async move {
    ///     assert_eq!(missing, [3]);
    ///     Ok::<_, Infallible>(missing.into_iter().map(|n| (n, n * n)).collect::<HashMap<_, _>>())
    /// };
    /// let found = squares.get_or_load_many([2, 3], load).await?;
    /// assert_eq!((*found[&2], *found[&3]), (4, 9));
    /// # Ok(()) }
    /// ```
    pub async fn get_or_load_many<K, T, E, F, Fut>(
        &self,
        ids: impl IntoIterator<Item = K>,
        load: F,
    ) -> Result<HashMap<K, Arc<T>>, LoadError<E>>
    where
        K: Display + Clone + Eq + Hash + Send + Sync + 'static,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<K, T>, E>> + Send + 'static,
    {
        let mut known = HashSet::new();
        let ids = ids.into_iter().filter(|id| known.insert(id.clone()));
        let mut pending: Vec<(K, Key)> = ids.map(|id| (id.clone(), self.namespace.key(id.to_string()))).collect();
        let mut values = HashMap::with_capacity(pending.len());
        if !self.is_enabled() {
            let loaded = load(pending.into_iter().map(|(id, _)| id).collect()).await;
            let loaded = loaded.map_err(|error| LoadError::Failed(Arc::new(error)))?;
            return Ok(loaded.into_iter().map(|(id, value)| (id, Arc::new(value))).collect());
        }
        let load = Arc::new(load);
        let chain = LoadStack::current();
        let since = self.engine.shared.flights.now();
        let mut backoff = Backoff::new();
        let mut waits = false;
        while !pending.is_empty() {
            let asked = pending.len();
            // Before the look, so that no change after it is missed.
            let listen = |(_, key): &(K, Key)| self.engine.shared.tier.listen(key);
            let listeners: Option<Vec<ChangeListener>> = waits.then(|| pending.iter().map(listen).collect()).flatten();
            let round = self
                .look(std::mem::take(&mut pending), since, chain.as_deref(), &mut values)
                .await?;
            let mut landings = Vec::with_capacity(asked);
            // What this caller has to load comes first, so that two batches never wait for each other.
            if !round.led.is_empty() {
                // The load waits for nobody, but the one who started it now waits for the load.
                let within = chain.as_deref().map_or(&[][..], LoadStack::flights);
                let leads = round.led.iter().filter_map(|(_, _, take)| take.fill.lead());
                let _edges: Vec<_> = leads.map(|lead| lead.waited_for_by(within)).collect();
                landings.extend(self.launch_many(round.led, &load).await);
            } else if !round.refreshed.is_empty() {
                // Runs on by itself.
                drop(self.launch_many(round.refreshed, &load));
            }
            for (id, key, wait) in round.waiting {
                let landing = self.landed(&key, wait).await;
                landings.push((id, key, landing));
            }
            for (id, key, landing) in landings {
                match landing {
                    Some(outcome) => {
                        if let Some(found) = outcome? {
                            values.insert(id, found.value);
                        }
                    }
                    None => pending.push((id, key)),
                }
            }
            waits = pending.len() == asked;
            if waits {
                // Another process is loading all of them, and probably in one go.
                backoff.wait_or_all(listeners).await;
            }
        }
        Ok(values)
    }

    /// Looks up `ids` in one batch, and decides about each.
    async fn look<K, T, E>(
        &self,
        ids: Vec<(K, Key)>,
        since: Moment,
        chain: Option<&LoadStack>,
        values: &mut HashMap<K, Arc<T>>,
    ) -> Result<Round<K, T, E>, LoadError<E>>
    where
        K: Clone + Eq + Hash,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let keys: Vec<Key> = ids.iter().map(|(_, key)| key.clone()).collect();
        let seen: Vec<Read<T>> = match self.engine.shared.tier.look_many(&keys, &*self.engine.coder).await {
            Ok(seen) => seen,
            Err(_) => keys.iter().map(|_| Read::Outage).collect(),
        };
        let mut round = Round {
            led: Vec::new(),
            refreshed: Vec::new(),
            waiting: Vec::new(),
        };
        for ((id, key), seen) in ids.into_iter().zip(seen) {
            match self.engine.step::<T, E>(&key, seen, ASK, since, chain) {
                Step::Done(outcome) => {
                    if let Some(found) = outcome? {
                        values.insert(id, found.value);
                    }
                }
                Step::Refresh(found, take) => {
                    if let Some(take) = take {
                        round.refreshed.push((id.clone(), key, take));
                    }
                    values.insert(id, found.value);
                }
                Step::Lead(take) => round.led.push((id, key, take)),
                Step::Wait(wait, _) => round.waiting.push((id, key, wait)),
                Step::Circle => return Err(LoadError::Circular(Box::new(key))),
            }
        }
        Ok(round)
    }

    /// Waits for a flight that another caller leads. `None` if it is to be looked at again.
    async fn landed<T, E>(&self, key: &Key, wait: Waiting) -> Option<Outcome<T, E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        match wait.wait().await {
            Waited::Landed(Landing::Shared(outcome)) => outcome.downcast_ref::<Outcome<T, E>>().cloned(),
            Waited::Landed(Landing::LookAgain | Landing::Apart) => None,
            Waited::Lead(lead) => {
                // Taken up again, with what its predecessor held given back, at the next look.
                drop(Fill::<T, E>::new(
                    Arc::clone(&self.engine.shared),
                    key.clone(),
                    lead,
                    None,
                ));
                None
            }
        }
    }

    /// Starts one load for all of `takes` in a task of its own, and gives the future that waits for it.
    fn launch_many<K, T, E, F, Fut>(
        &self,
        takes: Vec<(K, Key, Take<T, E>)>,
        load: &Arc<F>,
    ) -> impl Future<Output = Landings<K, T, E>> + use<K, T, E, F, Fut, C>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<K, T>, E>> + Send + 'static,
    {
        let (send, receive) = tokio::sync::oneshot::channel();
        let (cache, load, outer) = (self.clone(), Arc::clone(load), LoadStack::current());
        let task = async move {
            // Whoever started it may have gone away.
            let _ = send.send(cache.fly_many(takes, outer, &*load).await);
        };
        self.engine
            .shared
            .tasks
            .spawn(tracing::Instrument::in_current_span(task));
        async move { receive.await.unwrap_or_default() }
    }

    async fn fly_many<K, T, E, F, Fut>(
        &self,
        takes: Vec<(K, Key, Take<T, E>)>,
        outer: Option<Arc<LoadStack>>,
        load: &F,
    ) -> Landings<K, T, E>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut,
        Fut: Future<Output = Result<HashMap<K, T>, E>>,
    {
        let fenced = stream::iter(takes)
            .map(|(id, key, take)| async move { (id, key, self.engine.prepare_at_once(take).await) })
            .buffered(AT_A_TIME);
        let mut landings = Vec::new();
        let mut fills = Vec::new();
        for (id, key, fill) in fenced.collect::<Vec<_>>().await {
            match fill {
                Some(mut fill) => {
                    fill.begin();
                    fills.push((id, key, fill));
                }
                // Somebody else in the cluster is at it, or was faster.
                None => landings.push((id, key, None)),
            }
        }
        if fills.is_empty() {
            return landings;
        }
        let keys: Vec<Key> = fills.iter().map(|(_, key, _)| key.clone()).collect();
        let flights: Vec<_> = fills.iter().filter_map(|(_, _, fill)| fill.flight()).collect();
        let chain = LoadStack::within(outer, self.backend(), keys, flights);
        let ids = fills.iter().map(|(id, _, _)| id.clone()).collect();
        // What the load reads may be part of each of its values.
        let tagger = Tagger::new(&self.engine.shared.tier.tags);
        for (_, _, fill) in &mut fills {
            fill.set_tagger(&tagger);
        }
        let load = chain.scope(tagger.scope(async move { load(ids).await }));
        let load = AssertUnwindSafe(load).catch_unwind();
        let failure = match self.engine.limited(renewing_all(&mut fills, load)).await {
            Ok(Ok(Ok(mut loaded))) => {
                let kept = stream::iter(fills).map(|(id, key, mut fill)| {
                    let value = loaded.remove(&id).map_or_else(Loaded::absent, Loaded::new);
                    async move {
                        fill.note_loaded();
                        (id, key, Some(Ok(self.engine.keep(fill, value).await)))
                    }
                });
                landings.extend(kept.buffered(AT_A_TIME).collect::<Vec<_>>().await);
                return landings;
            }
            Ok(Ok(Err(error))) => (LoadFailure::Error, LoadError::Failed(Arc::new(error))),
            Ok(Err(panic)) => (LoadFailure::Panic, LoadError::Panicked(panic_message(&*panic))),
            Err(limit) => (LoadFailure::Timeout, LoadError::TimedOut(limit)),
        };
        let failed = stream::iter(fills).map(|(id, key, mut fill)| {
            let (how, error) = failure.clone();
            async move {
                fill.note_failed(how);
                (id, key, Some(self.engine.fail(fill, error).await))
            }
        });
        landings.extend(failed.buffered(AT_A_TIME).collect::<Vec<_>>().await);
        landings
    }
}

/// Runs `load`, and keeps the leases of all `fills` alive meanwhile.
async fn renewing_all<K, T, E, L>(fills: &mut [(K, Key, Fill<T, E>)], load: L) -> L::Output
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    L: Future,
{
    let mut load = pin!(load);
    let renewals = stream::iter(fills.iter_mut())
        .for_each_concurrent(None, |(_, _, fill)| fill.renewing(std::future::pending::<()>()));
    tokio::select! {
        biased;
        result = &mut load => result,
        () = renewals => load.await,
    }
}

/// How the loads of several ids ended; `None` is for one to be looked at again.
type Landings<K, T, E> = Vec<(K, Key, Option<Outcome<T, E>>)>;

/// What one look at several keys led to.
struct Round<K, T, E> {
    led: Vec<(K, Key, Take<T, E>)>,
    /// Answered already; to be refreshed, if nothing is to be loaded before that.
    refreshed: Vec<(K, Key, Take<T, E>)>,
    waiting: Vec<(K, Key, Waiting)>,
}
