//! Operations on several keys at once, and loads of the missing ones together.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::{self, Display};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;

use cache_core::{Coder, Key, Version};
use tracing::{Instrument, Span};

use crate::cache::get_or_load::value;
use crate::cache::handle::Cache;
use crate::load::backoff::Backoff;
use crate::load::batch::{Item, LEADS_AT_A_TIME};
use crate::load::call::{Accepts, Call};
use crate::load::context::{Loaded, LoadedMany};
use crate::load::drive::Joined;
use crate::load::error::LoadError;
use crate::load::on_hit::Due;
use crate::load::reading::Reading;
use crate::load::stack::LoadStack;
use crate::load::step::Step;
use crate::load::waiting::Waiting;
use crate::store::changes::ChangeListener;
use crate::store::record::Found;
use crate::tier::read::Read;
use crate::trace::load::{RunsFor, waiting as wait_span};

/// The outcomes of several ids. Each id has one: its value, `None` if there is none, or the error of its load.
pub type Outcomes<K, T, E> = HashMap<K, Result<Option<Arc<T>>, LoadError<E>>>;

/// How many loads the span of a batch links to at most, if the batch waits for them.
const LINKS: usize = 32;

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
    /// caller is already loading. It gets each id once, in the order in which `ids` first has them. More than 500 ids are
    /// split among several calls, four at a time. `load` returns the values that exist. That the others do not exist is
    /// stored for [`Policy::negative_ttl`](crate::Policy::negative_ttl). `load`
    /// is called again only for ids that another caller was loading at first, if they still have no result. Everything
    /// else is as with [`get_or_load`](Self::get_or_load).
    ///
    /// For tags, lifetimes and errors by id, use [`many`](Self::many).
    ///
    /// # Errors
    /// The load of any of the ids failed. Values that were loaded are stored all the same.
    ///
    /// ```
    /// use std::{collections::HashMap, convert::Infallible};
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
        present(self.many(ids).obtain(false, true, plain(load)).await)
    }

    /// Loads the values of several ids again, even if they are fresh, and replaces them. As
    /// [`get_or_load_many`](Self::get_or_load_many) otherwise, and as [`refresh`](Self::refresh).
    ///
    /// # Errors
    /// The load of any of the ids failed. Its value stays; the others are replaced all the same.
    pub async fn refresh_many<K, T, E, F, Fut>(
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
        present(self.many(ids).obtain(true, true, plain(load)).await)
    }

    /// Returns a view of several ids, for loads that say for each id how its value is stored, or that it failed. The key
    /// of an id is its display form.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cache_engine::{Cache, Loaded, LoadedMany};
    /// use cache_memory::MemoryBackend;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder(MemoryBackend::default()).build();
    /// let prices = cache.with_namespace("prices");
    /// let load = |missing: Vec<u32>| async move {
    ///     let mut loaded = LoadedMany::new();
    ///     for id in missing {
    ///         loaded.insert(id, match id {
    ///             1 => Ok(Loaded::new(100_u64)),
    ///             2 => Ok(Loaded::new(250).with_ttl(Duration::from_secs(5))),
    ///             3 => Ok(Loaded::new(300).do_not_store()),
    ///             _ => Err("no such article"),
    ///         });
    ///     }
    ///     Ok(loaded)
    /// };
    /// let found = prices.many([1, 2, 3, 4]).tags_by(|id| [format!("article:{id}")]).get_or_load(load).await;
    /// assert_eq!(found[&2].as_ref().unwrap().as_deref(), Some(&250));
    /// assert!(found[&4].is_err()); // The others are answered all the same.
    ///
    /// cache.invalidate_tag("article:1").await?;
    /// assert!(prices.get::<u64>("1").await?.is_none());
    /// # Ok(()) }
    /// ```
    pub fn many<K>(&self, ids: impl IntoIterator<Item = K>) -> Many<'_, K, C>
    where
        K: Display + Clone + Eq + Hash + Send + Sync + 'static,
    {
        let mut known = HashSet::new();
        let ids = ids.into_iter().filter(|id| known.insert(id.clone())).collect();
        Many {
            cache: self,
            ids,
            tags_by: None,
        }
    }
}

/// Returns a loader that stores all of its values in the same way.
fn plain<K, T, E, F, Fut>(load: F) -> impl Fn(Vec<K>) -> Loading<K, T, E> + Send + Sync + 'static
where
    K: Eq + Hash + Send + 'static,
    T: Send + Sync + 'static,
    E: Send + 'static,
    F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<HashMap<K, T>, E>> + Send + 'static,
{
    let load = Arc::new(load);
    move |ids| {
        let load = Arc::clone(&load);
        Box::pin(async move {
            let loaded = load(ids).await?;
            Ok(loaded
                .into_iter()
                .map(|(id, value)| (id, Ok(Loaded::new(value))))
                .collect())
        })
    }
}

type Loading<K, T, E> = Pin<Box<dyn Future<Output = Result<LoadedMany<K, T, E>, E>> + Send>>;

/// Returns the values that exist, or the first error.
fn present<K: Eq + Hash, T, E>(outcomes: Outcomes<K, T, E>) -> Result<HashMap<K, Arc<T>>, LoadError<E>> {
    let mut values = HashMap::with_capacity(outcomes.len());
    for (id, outcome) in outcomes {
        if let Some(value) = outcome? {
            values.insert(id, value);
        }
    }
    Ok(values)
}

type TagsBy<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

/// A view of several ids of a cache; see [`Cache::many`].
#[must_use = "nothing is read until one of its methods is called"]
pub struct Many<'a, K, C> {
    cache: &'a Cache<C>,
    ids: Vec<K>,
    tags_by: Option<TagsBy<K>>,
}

impl<K, C> fmt::Debug for Many<'_, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Many")
            .field("ids", &self.ids.len())
            .finish_non_exhaustive()
    }
}

impl<K, C> Many<'_, K, C>
where
    K: Display + Clone + Eq + Hash + Send + Sync + 'static,
    C: Send + Sync + 'static,
{
    /// Sets the tags of each id, in addition to those of the [handle](Cache::with_tags). They are read before the load
    /// begins, those of all ids in one batch, so an invalidation during the load is not missed.
    pub fn tags_by<I>(mut self, tags: impl Fn(&K) -> I + Send + Sync + 'static) -> Self
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let owned = move |id: &K| tags(id).into_iter().map(|tag| tag.as_ref().to_owned()).collect();
        self.tags_by = Some(Box::new(owned));
        self
    }

    /// Returns the values of the ids. `load` brings those that are missing, as with
    /// [`get_or_load_many`](Cache::get_or_load_many), and says for each how it is stored, or why it failed. An error of
    /// `load` itself is the error of all ids that it was called for.
    ///
    /// Every id has an outcome. Never fails because of the store.
    pub async fn get_or_load<T, E, F, Fut>(self, load: F) -> Outcomes<K, T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<LoadedMany<K, T, E>, E>> + Send + 'static,
    {
        self.obtain(false, false, load).await
    }

    /// Loads the values of all ids again, even if they are fresh, and replaces them, as with
    /// [`refresh_many`](Cache::refresh_many). The value of an id whose load fails stays, and its outcome is the error.
    pub async fn refresh<T, E, F, Fut>(self, load: F) -> Outcomes<K, T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<LoadedMany<K, T, E>, E>> + Send + 'static,
    {
        self.obtain(true, false, load).await
    }

    /// Obtains the outcomes of all ids; if `fails_fast`, up to the first error.
    async fn obtain<T, E, F, Fut>(self, anew: bool, fails_fast: bool, load: F) -> Outcomes<K, T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<LoadedMany<K, T, E>, E>> + Send + 'static,
    {
        let Self { cache, ids, tags_by } = self;
        let engine = &cache.engine;
        if !engine.shared.is_used() {
            ids.iter().for_each(|_| cache.report_unused());
            engine.contribute_uncoalesced().await;
            return load_uncached(ids, load).await;
        }
        let mut pending: Vec<(K, Key)> = ids
            .into_iter()
            .map(|id| {
                let key = cache.namespace.key(id.to_string());
                (id, key)
            })
            .collect();
        let mut outcomes = HashMap::with_capacity(pending.len());
        let load = Arc::new(load);
        let mut call = engine.call(ACCEPTS);
        call.refreshes_early = true;
        let stack = call.stack.clone();
        let within = stack.as_deref().map_or(&[][..], LoadStack::flights);
        let mut reader = Reader {
            cache,
            tags_by,
            replaces: anew.then(HashMap::new),
        };
        let mut backoff = Backoff::new();
        let mut waits = false;
        // The keys of all ids, in the order of the caller.
        let mut order = None;
        let mut positions: Option<HashMap<Key, usize>> = None;
        // What is to be loaded, but not yet.
        let mut later = VecDeque::new();
        while !pending.is_empty() {
            let asked = pending.len();
            // Registered before the read, so that no change after it is missed.
            let listen = |(_, key): &(K, Key)| engine.shared.tier.listen(key);
            let listeners: Option<Vec<ChangeListener>> = waits.then(|| pending.iter().map(listen).collect()).flatten();
            let ids = std::mem::take(&mut pending);
            let mut round: Round<K, T, E> = reader.read(ids, &mut call, &mut outcomes).await;
            let order = order.get_or_insert_with(|| std::mem::take(&mut round.keys));
            // A key that is read again was reported in the first round.
            call.reported = true;
            if fails_fast && outcomes.values().any(Result::is_err) {
                return outcomes;
            }
            let mut landed = Vec::with_capacity(asked);
            if !round.verified.is_empty() {
                engine.verify_batch(round.verified, &load);
            }
            // The other leads are dropped, and acquired again with another read. No load of this batch runs while one that
            // has not begun has a lead, since it could wait for that one.
            let rest = round.led.drain(LEADS_AT_A_TIME.min(round.led.len())..);
            later.extend(rest.map(|item| (item.id, item.key)));
            round.refreshed.truncate(LEADS_AT_A_TIME);
            // The values that this caller has to load come first, so that two batches never wait for each other.
            if !round.led.is_empty() {
                // The load itself waits for nothing, but the caller that started it now waits for the load.
                let leads = round.led.iter().filter_map(|item| item.start.fill.lead());
                let _edges: Vec<_> = leads.map(|lead| lead.waited_for_by(within)).collect();
                landed.extend(engine.launch_batch(round.led, &load, RunsFor::Caller).await);
            } else if !round.refreshed.is_empty() {
                let leads = round.refreshed.iter().filter_map(|item| item.start.fill.lead());
                let waits_for = if engine.shared.foreground { within } else { &[] };
                let _edges: Vec<_> = leads.map(|lead| lead.waited_for_by(waits_for)).collect();
                let refresh = engine.launch_batch(round.refreshed, &load, engine.shared.refreshes_for());
                // Otherwise it continues in the background.
                if engine.shared.foreground {
                    for (id, _, outcome) in refresh.await {
                        if let Some(outcome @ Ok(Some(_))) = outcome {
                            outcomes.insert(id, value(outcome));
                        }
                    }
                }
            }
            let wait = match round.waiting.first() {
                Some((_, key, _)) => {
                    let loads = round.waiting.iter().filter_map(|(.., waiting)| waiting.load_span());
                    wait_span(engine.shared.events.cache(), key, loads.take(LINKS))
                }
                None => Span::none(),
            };
            for (id, key, waiting) in round.waiting {
                let joined = engine.join_flight(&key, waiting, None, &call).instrument(wait.clone());
                let outcome = match joined.await {
                    Joined::Outcome(outcome) => Some(outcome),
                    // A lead is dropped, and acquired again with the next read.
                    Joined::ReadAgain | Joined::Uncoalesced | Joined::Preview(_) | Joined::Lead(_) => None,
                };
                landed.push((id, key, outcome));
            }
            let portion = later.len().min(LEADS_AT_A_TIME);
            pending.extend(later.drain(..portion));
            for (id, key, outcome) in landed {
                match outcome {
                    Some(outcome) => {
                        let ends = fails_fast && outcome.is_err();
                        outcomes.insert(id, value(outcome));
                        if ends {
                            return outcomes;
                        }
                    }
                    None => pending.push((id, key)),
                }
            }
            if pending.len() > 1 {
                let positions = positions.get_or_insert_with(|| std::mem::take(order).into_iter().zip(0..).collect());
                pending.sort_by_key(|(_, key)| positions.get(key).copied());
            }
            waits = portion == 0 && pending.len() == asked;
            if waits {
                // Another process is loading all of them, probably together.
                backoff.wait_or_all(listeners).await;
            }
        }
        outcomes
    }
}

/// Loads without the cache, which is switched off or bypassed.
async fn load_uncached<K, T, E, F, Fut>(ids: Vec<K>, load: F) -> Outcomes<K, T, E>
where
    K: Clone + Eq + Hash,
    F: Fn(Vec<K>) -> Fut,
    Fut: Future<Output = Result<LoadedMany<K, T, E>, E>>,
{
    let failed = |error| Err(LoadError::Failed(error));
    match load(ids.clone()).await {
        Ok(mut loaded) => ids
            .into_iter()
            .map(|id| {
                let outcome = match loaded.remove(&id) {
                    Some(Ok(loaded)) => Ok(loaded.value),
                    Some(Err(error)) => failed(Arc::new(error)),
                    None => Ok(None),
                };
                (id, outcome)
            })
            .collect(),
        Err(error) => {
            let error = Arc::new(error);
            ids.into_iter().map(|id| (id, failed(Arc::clone(&error)))).collect()
        }
    }
}

/// Reads several keys, and decides what to do for each.
struct Reader<'a, K, C> {
    cache: &'a Cache<C>,
    tags_by: Option<TagsBy<K>>,
    /// The records that are replaced, whatever they hold: those that the first read finds. `None` if any are accepted.
    replaces: Option<HashMap<K, Option<Version>>>,
}

impl<K, C> Reader<'_, K, C>
where
    K: Clone + Eq + Hash,
    C: Send + Sync + 'static,
{
    /// Reads `ids` in one batch, and decides what to do for each.
    async fn read<T, E>(
        &mut self,
        ids: Vec<(K, Key)>,
        call: &mut Call,
        outcomes: &mut Outcomes<K, T, E>,
    ) -> Round<K, T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let engine = &self.cache.engine;
        let keys: Vec<Key> = ids.iter().map(|(_, key)| key.clone()).collect();
        let reads = engine.shared.tier.read_many(&keys, &*engine.coder).await;
        let mut round = Round {
            keys,
            led: Vec::new(),
            refreshed: Vec::new(),
            waiting: Vec::new(),
            verified: Vec::new(),
        };
        for ((id, key), read) in ids.into_iter().zip(reads) {
            call.accepts.except = match &mut self.replaces {
                Some(replaces) => *replaces.entry(id.clone()).or_insert_with(|| read.version()),
                None => None,
            };
            let mut reading = Reading::from(read);
            if let (Read::Fresh(found, _), Some(on_hit), None) = (&reading.read, engine.on_hit, &self.replaces) {
                reading.due = on_hit.due(found, engine.shared.tier.now(), &engine.shared.random);
                if reading.due == Due::Verification {
                    round.verified.push((id.clone(), key.clone(), found.clone()));
                }
            }
            let tags_by = &self.tags_by;
            let item = |id, key, start| {
                let tags = match tags_by {
                    Some(tags_by) => engine.tags.with(tags_by(&id)),
                    None => engine.tags.clone(),
                };
                Item { id, key, start, tags }
            };
            match engine.step::<T, E>(&key, reading, call) {
                Step::Done(outcome) => {
                    outcomes.insert(id, value(outcome));
                }
                Step::Early(found, start) => {
                    outcomes.insert(id.clone(), Ok(Some(found.value)));
                    round.refreshed.push(item(id, key, start));
                }
                Step::Stale(found, start) => {
                    engine.contribute(&found);
                    outcomes.insert(id.clone(), Ok(Some(found.value)));
                    if let Some(start) = start {
                        round.refreshed.push(item(id, key, start));
                    }
                }
                Step::Load(start) => round.led.push(item(id, key, start)),
                Step::Wait(waiting, _) => round.waiting.push((id, key, waiting)),
                Step::Circular => {
                    outcomes.insert(id, Err(LoadError::Circular(Box::new(key))));
                }
            }
        }
        round
    }
}

/// The result of one read of several keys.
struct Round<K, T, E> {
    /// The keys that were read.
    keys: Vec<Key>,
    led: Vec<Item<K, T, E>>,
    /// Already answered. To be refreshed, if nothing has to be loaded first.
    refreshed: Vec<Item<K, T, E>>,
    waiting: Vec<(K, Key, Waiting)>,
    /// Already answered. To be verified.
    verified: Vec<(K, Key, Found<T>)>,
}
