//! Loads of several keys by one call of a loader.

use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use cache_core::{Coder, Error, Key, Namespace, Tags};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::event::LoadFailure;
use crate::load::context::{Loaded, LoadedMany};
use crate::load::contribution::Collector;
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::Outcome;
use crate::load::flight::FlightId;
use crate::load::launch::task_ended;
use crate::load::stack::LoadStack;
use crate::load::step::LoadStart;
use crate::panics::panic_message;
use crate::tags::declared::Declared;
use crate::tags::scope::Tagger;
use crate::tags::snapshot::TagSnapshot;
use crate::trace::load::{LoadSpan, RunsFor};

/// The largest number of keys in one call of the loader. A key is leased only when its call is about to begin, so that
/// there are few enough leases to renew them in time.
pub(crate) const CHUNK: usize = 500;

/// The largest number of calls of the loader at the same time.
const LOADS_AT_A_TIME: usize = 4;

/// The largest number of keys that one batch leads at the same time. Their loads all run, so that none of them can wait for
/// one that has not begun.
pub(crate) const LEADS_AT_A_TIME: usize = CHUNK * LOADS_AT_A_TIME;

/// The largest number of store operations of one batch at the same time, beyond the one that reads it.
const CALLS_AT_A_TIME: usize = 64;

/// A key to load, with the id by which the loader knows it.
pub(crate) struct Item<K, T, E> {
    pub(crate) id: K,
    pub(crate) key: Key,
    pub(crate) start: LoadStart<T, E>,
    /// The tags of its entry.
    pub(crate) tags: Declared,
}

/// The outcome of the load of an id. `None` if its key is to be read again.
pub(crate) type Landed<K, T, E> = (K, Key, Option<Outcome<T, E>>);

/// What the loader returned for one key.
type Brought<T, E> = Result<Loaded<T>, (LoadFailure, LoadError<E>)>;

impl<C: Send + Sync + 'static> Engine<C> {
    /// Starts the loads of all `items` in a task of their own, and returns the future that waits for it. They have one
    /// span.
    pub(crate) fn launch_batch<K, T, E, F, Fut>(
        &self,
        mut items: Vec<Item<K, T, E>>,
        load: &Arc<F>,
        whom: RunsFor,
    ) -> impl Future<Output = Vec<Landed<K, T, E>>> + use<K, T, E, F, Fut, C>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<LoadedMany<K, T, E>, E>> + Send + 'static,
    {
        let known: Vec<(K, Key)> = items.iter().map(|item| (item.id.clone(), item.key.clone())).collect();
        let (send, receive) = oneshot::channel();
        let (engine, load, outer) = (self.clone(), Arc::clone(load), LoadStack::current());
        let span = self.begin_batch(&mut items, whom);
        let own = span.clone();
        // Boxed, since each of the futures around it would move it.
        let task = Box::pin(async move {
            let landed = engine.run_batch(items, outer, &*load).await;
            record_outcomes(&own, &landed);
            // The caller may have been cancelled.
            let _ = send.send(landed);
        });
        let collector = self.collector();
        let scope = Collector::scope(collector.as_ref());
        let task = async move { scope.scope(task).await };
        let awaited = self.shared.spawn_load(span, whom, task);
        async move {
            let _awaited = awaited;
            let landed = receive.await.unwrap_or_else(|_| {
                let ended = |(id, key)| (id, key, Some(Err(LoadError::Panicked(task_ended()))));
                known.into_iter().map(ended).collect()
            });
            if let Some(collector) = collector {
                collector.join();
            }
            landed
        }
    }

    /// Begins the context of the loads of all `items`, and returns their span.
    fn begin_batch<K, T, E>(&self, items: &mut [Item<K, T, E>], whom: RunsFor) -> LoadSpan
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let span = match &*items {
            [first, ..] => LoadSpan::new(
                self.shared.events.cache(),
                &first.key,
                Some(items.len()),
                first.start.fill.is_refresh(),
                whom,
            ),
            [] => LoadSpan::none(),
        };
        for item in items {
            item.start.fill.begin_part(whom, &span);
        }
        span
    }

    async fn run_batch<K, T, E, F, Fut>(
        &self,
        items: Vec<Item<K, T, E>>,
        outer: Option<Arc<LoadStack>>,
        load: &F,
    ) -> Vec<Landed<K, T, E>>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut,
        Fut: Future<Output = Result<LoadedMany<K, T, E>, E>>,
    {
        let calls = Arc::new(Semaphore::new(CALLS_AT_A_TIME));
        let mut chunks = Vec::with_capacity(items.len().div_ceil(CHUNK));
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let chunk: Vec<_> = items.by_ref().take(CHUNK).collect();
            chunks.push(self.run_chunk(chunk, outer.clone(), load, &calls));
        }
        stream::iter(chunks).buffer_unordered(LOADS_AT_A_TIME).concat().await
    }

    /// Acquires the leases of `items`, loads those that it got in one call, and stores the results. Each lease is
    /// renewed until its value is stored.
    async fn run_chunk<K, T, E, F, Fut>(
        &self,
        items: Vec<Item<K, T, E>>,
        outer: Option<Arc<LoadStack>>,
        load: &F,
        calls: &Arc<Semaphore>,
    ) -> Vec<Landed<K, T, E>>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut,
        Fut: Future<Output = Result<LoadedMany<K, T, E>, E>>,
    {
        // Whatever the load reads may be part of each of its values, so they share one tagger.
        let tagger = Tagger::new(&self.shared.tier.tags);
        let count = items.len();
        let captured = self.capture_all(&items).await;
        let (report, mut reports) = mpsc::unbounded_channel();
        let members: FuturesUnordered<_> = items
            .into_iter()
            .zip(captured)
            .enumerate()
            .map(|(at, (item, captured))| self.run_member(at, item, captured, calls, &tagger, report.clone()))
            .collect();
        let load = async {
            let mut led = Vec::with_capacity(count);
            for _ in 0..count {
                // The members report before they end. The channel stays open, because this function has a sender.
                if let Some(Some(member)) = reports.recv().await {
                    led.push(member);
                }
            }
            // They report in any order. The loader gets the ids in that of the caller.
            led.sort_unstable_by_key(|member| member.at);
            if !led.is_empty() {
                self.load_for(led, outer, &tagger, load).await;
            }
        };
        let (landed, ()) = futures_util::future::join(members.collect(), load).await;
        drop(report);
        landed
    }

    /// Reads the tags of all `items` in one batch, for their loads, which begin now. The result of an item is `None` if it
    /// acquires no lease.
    async fn capture_all<K, T, E>(&self, items: &[Item<K, T, E>]) -> Vec<Option<Result<TagSnapshot, Error>>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let acquires = |item: &Item<K, T, E>| !item.start.outage && item.start.precondition.is_some();
        let wanted: Vec<(Namespace, &Declared, Option<&Tags>)> = items
            .iter()
            .filter(|item| acquires(item))
            .map(|item| {
                let of_stale = item.start.fill.stale().map(|stale| &stale.tags);
                (item.key.namespace(), &item.tags, of_stale)
            })
            .collect();
        let captured = self.shared.tier.tags.capture_all(&wanted).await;
        let mut captured = captured.map(Vec::into_iter);
        items
            .iter()
            .map(|item| {
                acquires(item).then(|| match &mut captured {
                    Ok(captured) => Ok(captured.next().unwrap_or_default()),
                    Err(error) => Err(error.clone()),
                })
            })
            .collect()
    }

    /// Acquires the lease of one key, waits for its value, and stores it. `at` is the position of the key in its call.
    async fn run_member<K, T, E>(
        &self,
        at: usize,
        item: Item<K, T, E>,
        captured: Option<Result<TagSnapshot, Error>>,
        calls: &Arc<Semaphore>,
        tagger: &Tagger,
        report: mpsc::UnboundedSender<Option<Member<K, T, E>>>,
    ) -> Landed<K, T, E>
    where
        K: Clone,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Item { id, key, start, tags } = item;
        let fill = {
            let _permit = calls.acquire().await;
            self.try_acquire_captured(start, &tags, captured).await
        };
        let Some(mut fill) = fill else {
            // Another process is loading the key, or was faster.
            let _ = report.send(None);
            return (id, key, None);
        };
        fill.set_tagger(tagger);
        fill.limit_renewals(calls);
        fill.begin();
        let (deliver, delivered) = oneshot::channel();
        let _ = report.send(Some(Member {
            at,
            id: id.clone(),
            key: key.clone(),
            flight: fill.flight(),
            deliver,
        }));
        let brought = fill.renewing(delivered).await;
        let _permit = fill.renewing(calls.acquire()).await;
        let outcome = match brought {
            Ok(Ok(loaded)) => {
                fill.note_loaded();
                Some(Ok(self.keep(fill, loaded).await))
            }
            Ok(Err((how, error))) => {
                fill.note_failed(how);
                Some(self.fail(fill, error).await)
            }
            Err(_) => None,
        };
        (id, key, outcome)
    }

    /// Calls the loader once for all of `led`, and passes each its value.
    async fn load_for<K, T, E, F, Fut>(
        &self,
        led: Vec<Member<K, T, E>>,
        outer: Option<Arc<LoadStack>>,
        tagger: &Tagger,
        load: &F,
    ) where
        K: Clone + Eq + Hash,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut,
        Fut: Future<Output = Result<LoadedMany<K, T, E>, E>>,
    {
        let keys: Vec<Key> = led.iter().map(|member| member.key.clone()).collect();
        let flights: Vec<_> = led.iter().filter_map(|member| member.flight).collect();
        let stack = LoadStack::within(outer, self.shared.tier.store.backend(), keys, flights);
        let ids = led.iter().map(|member| member.id.clone()).collect();
        let load = stack.scope(tagger.scope(async move { load(ids).await }));
        let load = AssertUnwindSafe(load).catch_unwind();
        let failure = match self.limited(load).await {
            Ok(Ok(Ok(mut loaded))) => {
                for member in led {
                    let brought = match loaded.remove(&member.id) {
                        Some(Ok(loaded)) => Ok(loaded),
                        Some(Err(error)) => Err((LoadFailure::Error, LoadError::Failed(Arc::new(error)))),
                        None => Ok(Loaded::absent()),
                    };
                    let _ = member.deliver.send(brought);
                }
                return;
            }
            Ok(Ok(Err(error))) => (LoadFailure::Error, LoadError::Failed(Arc::new(error))),
            Ok(Err(panic)) => (LoadFailure::Panic, LoadError::Panicked(panic_message(&*panic))),
            Err(limit) => (LoadFailure::Timeout, LoadError::TimedOut(limit)),
        };
        for member in led {
            let _ = member.deliver.send(Err(failure.clone()));
        }
    }
}

/// Records how the loads of a batch ended: with the first failure, if there is one.
fn record_outcomes<K, T, E>(span: &LoadSpan, landed: &[Landed<K, T, E>]) {
    let failure = landed.iter().find_map(|(.., outcome)| match outcome {
        Some(Err(error)) => Some(match error {
            LoadError::Panicked(_) => LoadFailure::Panic,
            LoadError::TimedOut(_) => LoadFailure::Timeout,
            _ => LoadFailure::Error,
        }),
        _ => None,
    });
    match failure {
        Some(failure) => span.record_failure(failure),
        None => span.record_outcome("ok"),
    }
}

/// A key whose lease is held, and whose value is awaited.
struct Member<K, T, E> {
    /// Its position in the call of the loader.
    at: usize,
    id: K,
    key: Key,
    flight: Option<FlightId>,
    deliver: oneshot::Sender<Brought<T, E>>,
}
