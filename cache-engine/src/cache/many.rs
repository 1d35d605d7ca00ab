//! Looks up several keys at once, and loads the missing ones together.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use cache_core::{Coder, Key};

use crate::cache::handle::Cache;
use crate::load::backoff::Backoff;
use crate::load::batch::Item;
use crate::load::call::{Accepts, Call};
use crate::load::drive::Joined;
use crate::load::error::LoadError;
use crate::load::stack::LoadStack;
use crate::load::step::Step;
use crate::load::waiting::Waiting;
use crate::store::changes::ChangeListener;

const ACCEPTS: Accepts = Accepts {
    negative: true,
    except: None,
    needs_error: false,
};

impl<C: Send + Sync + 'static> Cache<C> {
    /// Returns the values of several ids. The key of an id is its display form. `load` brings the values that are
    /// missing.
    ///
    /// The store is read in one batch. `load` is called once with the ids that are missing, without those that another
    /// caller is already loading. More than 500 ids are split among several calls. `load` returns the values that
    /// exist. That the others do not exist is stored for [`Policy::negative_ttl`](crate::Policy::negative_ttl). `load`
    /// is called again only for ids that another caller was loading at first, if they still have no result. Everything
    /// else is as with [`get_or_load`](Self::get_or_load).
    ///
    /// # Errors
    /// The load of any of the ids failed. Values that were loaded are stored all the same.
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
        if !self.engine.shared.is_used() {
            pending.iter().for_each(|_| self.report_unused());
            self.engine.contribute_uncoalesced().await;
            let loaded = load(pending.into_iter().map(|(id, _)| id).collect()).await;
            let loaded = loaded.map_err(|error| LoadError::Failed(Arc::new(error)))?;
            return Ok(loaded.into_iter().map(|(id, value)| (id, Arc::new(value))).collect());
        }
        let load = Arc::new(load);
        let engine = &self.engine;
        let mut call = engine.call(ACCEPTS);
        let stack = call.stack.clone();
        let within = stack.as_deref().map_or(&[][..], LoadStack::flights);
        let mut backoff = Backoff::new();
        let mut waits = false;
        while !pending.is_empty() {
            let asked = pending.len();
            // Registered before the read, so that no change after it is missed.
            let listen = |(_, key): &(K, Key)| engine.shared.tier.listen(key);
            let listeners: Option<Vec<ChangeListener>> = waits.then(|| pending.iter().map(listen).collect()).flatten();
            let round = self
                .read_round(std::mem::take(&mut pending), &call, &mut values)
                .await?;
            // A key that is read again was reported in the first round.
            call.reported = true;
            let mut landed = Vec::with_capacity(asked);
            // The values that this caller has to load come first, so that two batches never wait for each other.
            if !round.led.is_empty() {
                // The load itself waits for nothing, but the caller that started it now waits for the load.
                let leads = round.led.iter().filter_map(|item| item.start.fill.lead());
                let _edges: Vec<_> = leads.map(|lead| lead.waited_for_by(within)).collect();
                landed.extend(engine.launch_batch(round.led, &load).await);
            } else if !round.refreshed.is_empty() {
                let leads = round.refreshed.iter().filter_map(|item| item.start.fill.lead());
                let waits_for = if engine.shared.foreground { within } else { &[] };
                let _edges: Vec<_> = leads.map(|lead| lead.waited_for_by(waits_for)).collect();
                let refresh = engine.launch_batch(round.refreshed, &load);
                // Otherwise it continues in the background.
                if engine.shared.foreground {
                    for (id, _, outcome) in refresh.await {
                        if let Some(Ok(Some(found))) = outcome {
                            values.insert(id, found.value);
                        }
                    }
                }
            }
            for (id, key, waiting) in round.waiting {
                let outcome = match engine.join_flight(&key, waiting, None, &call).await {
                    Joined::Outcome(outcome) => Some(outcome),
                    // A lead is dropped, and acquired again with the next read.
                    Joined::ReadAgain | Joined::Uncoalesced | Joined::Preview(_) | Joined::Lead(_) => None,
                };
                landed.push((id, key, outcome));
            }
            for (id, key, outcome) in landed {
                match outcome {
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
                // Another process is loading all of them, probably together.
                backoff.wait_or_all(listeners).await;
            }
        }
        Ok(values)
    }

    /// Reads `ids` in one batch, and decides what to do for each.
    async fn read_round<K, T, E>(
        &self,
        ids: Vec<(K, Key)>,
        call: &Call,
        values: &mut HashMap<K, Arc<T>>,
    ) -> Result<Round<K, T, E>, LoadError<E>>
    where
        K: Clone + Eq + Hash,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let engine = &self.engine;
        let keys: Vec<Key> = ids.iter().map(|(_, key)| key.clone()).collect();
        let reads = engine.shared.tier.read_many(&keys, &*engine.coder).await;
        let mut round = Round {
            led: Vec::new(),
            refreshed: Vec::new(),
            waiting: Vec::new(),
        };
        for ((id, key), read) in ids.into_iter().zip(reads) {
            match engine.step::<T, E>(&key, read.into(), call) {
                Step::Done(outcome) => {
                    if let Some(found) = outcome? {
                        values.insert(id, found.value);
                    }
                }
                Step::Stale(found, start) => {
                    engine.contribute(&found);
                    values.insert(id.clone(), found.value);
                    if let Some(start) = start {
                        round.refreshed.push(Item { id, key, start });
                    }
                }
                Step::Load(start) => round.led.push(Item { id, key, start }),
                Step::Wait(waiting, _) => round.waiting.push((id, key, waiting)),
                Step::Circular => return Err(LoadError::Circular(Box::new(key))),
            }
        }
        Ok(round)
    }
}

/// The result of one read of several keys.
struct Round<K, T, E> {
    led: Vec<Item<K, T, E>>,
    /// Already answered. To be refreshed, if nothing has to be loaded first.
    refreshed: Vec<Item<K, T, E>>,
    waiting: Vec<(K, Key, Waiting)>,
}
