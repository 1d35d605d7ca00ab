//! Loads the result of a call.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::{Error, Key};
use tracing::Instrument;

use super::ask::Request;
use super::coder::{Codes, Coding};
use super::lookup::{Missed, NotFound};
use super::return_type::plan::Handling;
use super::run::{Ran, Run};
use super::settle::{Loader, Settled, fail, settle};
use super::time::Time;
use crate::cache::handle::Cache;
use crate::event::Event;
use crate::load::acquire;
use crate::load::call::Accepts;
use crate::load::context::{Load, Loaded};
use crate::load::drive::Next;
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::Edges;
use crate::load::on_hit::Due;
use crate::load::policy::Policy;
use crate::load::reading::Reading;
use crate::load::run::{self, Returned};
use crate::load::stack::LoadStack;
use crate::store::record::Found;
use crate::tags::ambient::is_within_load;
use crate::tags::scope::Tagger;
use crate::tier::read::Read;
use crate::trace::load::{LoadSpan, RunsFor, verification};

/// A future that is `Send`, even if the function's own future is not.
pub(super) type Boxed<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// Boxes a body.
#[must_use]
pub fn boxed<F: Future>(body: F) -> Pin<Box<F>> {
    Box::pin(body)
}

/// What a call does if there is no fresh value.
pub enum Acquired<T, E, D> {
    /// Load it.
    Lead(Box<Flight<T, E, D>>),
    /// Nothing: the outcome is known, because another caller has loaded the value or cannot load it.
    Answered(Ended<T, E>),
    /// Run the function for this call only.
    Uncoalesced,
    /// Return this value, and run the function to compare its result with the value.
    Verify(Box<Hit<T, E, D>>),
}

impl<T, E, D> Acquired<T, E, D> {
    fn answered(outcome: Outcome<T, E>) -> Self {
        Self::Answered(Ended::new(outcome))
    }
}

/// How a load ended for a call. Boxed, so that it takes no space in the function's future while the body runs.
pub struct Ended<T, E>(Box<Outcome<T, E>>);

impl<T, E> Ended<T, E> {
    fn new(outcome: Outcome<T, E>) -> Self {
        Self(Box::new(outcome))
    }
}

/// Ends a load.
type Land<T, E, D> = fn(Box<Flight<T, E, D>>, Returned<T, E>) -> Boxed<'static, Ended<T, E>>;

/// A fresh value that a call verifies.
pub struct Hit<T, E, D> {
    engine: Engine<D>,
    key: Key,
    found: Found<T>,
    /// The function [`compare`]. It needs the type bounds of the coder that [`acquire`] has.
    compare: Compare<T, E, D>,
}

/// Compares a value that was found with what the function returned, and ends the call with the former. Outer `None`: the
/// function returned nothing to compare.
type Compare<T, E, D> = fn(Box<Hit<T, E, D>>, Option<Option<Arc<T>>>) -> Boxed<'static, Ended<T, E>>;

impl<T, E, D> Hit<T, E, D>
where
    D: Send + Sync + 'static,
{
    /// Runs the body past all caches. Returns `None` if it panicked, or took too long.
    pub async fn run<F: Future>(&self, body: Pin<Box<F>>) -> Option<F::Output> {
        let span = verification(self.engine.shared.events.cache(), &self.key, RunsFor::Caller);
        self.engine.load_to_verify(body).instrument(span).await
    }
}

fn compare<T, E, D>(hit: Box<Hit<T, E, D>>, loaded: Option<Option<Arc<T>>>) -> Boxed<'static, Ended<T, E>>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    D: Codes<T> + Send + Sync + 'static,
{
    Box::pin(async move {
        let Hit { engine, key, found, .. } = *hit;
        if let Some(loaded) = loaded {
            engine.compare(&key, &found, loaded).await;
        }
        Ended::new(Ok(Some(found)))
    })
}

/// Ends a call that verified its value with the result of its body.
pub fn compared<H: Handling, D>(_: H, hit: Box<Hit<H::Value, H::Shared, D>>, ran: Option<H::Output>) -> Landing<H> {
    let loaded = ran.and_then(|output| H::split(output).ok());
    (hit.compare)(hit, loaded)
}

/// A load that a call leads.
pub struct Flight<T, E, D> {
    engine: Engine<D>,
    fill: Fill<T, E>,
    span: LoadSpan,
    /// The value to return if the load fails.
    fallback: Option<Found<T>>,
    /// The loads that this one runs in, which wait for it.
    _edges: Option<Edges>,
    /// The function [`land`]. It needs the type bounds of the coder that [`acquire`] has.
    land: Land<T, E, D>,
}

/// Waits for the loads of other callers, or takes the lead, for a function that runs in its caller's task.
///
/// The steps before and after the body are separate futures, which are created out of line and do not exist while the
/// body runs. Nested functions are on the stack at the same time, so each should use little of it.
#[inline(never)]
pub fn acquire<H, C, D>(
    _: H,
    cache: &Cache<C>,
    coding: D,
    missed: Missed<H::Value>,
    keep: impl StoreRule<H::Value>,
) -> Boxed<'static, Acquired<H::Value, H::Shared, D::Coder>>
where
    H: Handling,
    D: Coding<C>,
    D::Coder: Codes<H::Value>,
{
    let NotFound {
        key,
        reading,
        request,
        policy,
    } = *missed.0;
    let cache = handle::<H, _, _>(cache, coding, policy.unwrap_or(*cache.policy()));
    let request = asked_for(request, keep);
    Box::pin(async move {
        let accepts = accepts::<H>(&reading, request.is_some());
        let reading = match request {
            Some(request) => match request.answer(&cache, &key, reading, accepts.negative).await {
                Ok(reading) => reading,
                Err(outcome) => return Acquired::answered(outcome),
            },
            None => reading,
        };
        let engine = cache.engine;
        if let (Due::Verification, Read::Fresh(found, _)) = (reading.due, &reading.read) {
            engine.hit(&key, found);
            return Acquired::Verify(Box::new(Hit {
                found: found.clone(),
                engine,
                key,
                compare: compare::<H::Value, H::Shared, D::Coder>,
            }));
        }
        let mut call = engine.call(accepts);
        // The stale value is the answer unless the load returns a new one.
        let (mut start, fallback) = match engine.next(&key, reading, &mut call).await {
            Next::Done(outcome) => return Acquired::answered(outcome),
            Next::Circular => return Acquired::answered(Err(LoadError::Circular(Box::new(key)))),
            Next::Uncoalesced | Next::Preview(_) => {
                engine.contribute_uncoalesced().await;
                return Acquired::Uncoalesced;
            }
            Next::Stale(stale, None) => return Acquired::answered(or_stale(&engine, Ok(None), Some(stale))),
            // Early is only for calls that can load in the background.
            Next::Stale(stale, Some(start)) | Next::Early(stale, start) => (start, Some(stale)),
            Next::Load(start, _) => (start, None),
        };
        let within = call.stack.as_deref().map_or(&[][..], LoadStack::flights);
        let edges = start.fill.lead().map(|lead| lead.waited_for_by(within));
        start.fill.begin_context(RunsFor::Caller);
        let span = start.fill.span();
        match span.scope(engine.acquire(start, accepts)).await {
            acquire::Acquired::Answered(outcome) => Acquired::answered(or_stale(&engine, outcome, fallback)),
            acquire::Acquired::Load(fill) => Acquired::Lead(Box::new(Flight {
                engine,
                fill,
                span,
                fallback,
                _edges: edges,
                land: land::<H::Value, H::Shared, D::Coder>,
            })),
        }
    })
}

/// Replaces an outcome without a value by the stale value.
fn or_stale<T, E, D>(engine: &Engine<D>, outcome: Outcome<T, E>, stale: Option<Found<T>>) -> Outcome<T, E>
where
    D: Send + Sync + 'static,
{
    match (outcome, stale) {
        (Ok(Some(found)), _) => Ok(Some(found)),
        (_, Some(stale)) => {
            engine.contribute(&stale);
            Ok(Some(stale))
        }
        (outcome, None) => outcome,
    }
}

impl<T, E, D> Flight<T, E, D>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    D: Send + Sync + 'static,
{
    /// Runs the body.
    #[inline(never)]
    pub fn run<F: Future>(&mut self, body: Pin<Box<F>>) -> Run<'_, F> {
        let stack = self.engine.begin(&mut self.fill, LoadStack::current());
        let tagger = self.fill.tagger().clone();
        let (engine, fill, span) = (&self.engine, &mut self.fill, &self.span);
        let keeper = Box::pin(async move {
            match engine.limited(fill.renewing(pending::<Infallible>())).await {
                Ok(never) => match never {},
                Err(limit) => limit,
            }
        });
        Run {
            span,
            body,
            stack,
            tagger,
            keeper,
        }
    }
}

#[inline(never)]
fn land<T, E, D>(flight: Box<Flight<T, E, D>>, returned: Returned<T, E>) -> Boxed<'static, Ended<T, E>>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    D: Codes<T> + Send + Sync + 'static,
{
    Box::pin(async move {
        let Flight {
            engine,
            fill,
            span,
            fallback,
            ..
        } = *flight;
        match span.scope(engine.end(fill, returned)).await {
            run::Ended::Panicked(_, panic) => resume_unwind(panic),
            run::Ended::Outcome(outcome) => Ended::new(or_stale(&engine, outcome, fallback)),
        }
    })
}

/// The end of a load.
type Landing<H> = Boxed<'static, Ended<<H as Handling>::Value, <H as Handling>::Shared>>;

/// Ends a load with the result of its body. Also returns the function's own error.
///
/// Out of line, like everything after the body, because nested functions are on the stack at the same time.
#[inline(never)]
pub fn brought<H: Handling, D>(
    _: H,
    flight: Box<Flight<H::Value, H::Shared, D>>,
    ran: Ran<H::Output>,
    keep: impl StoreRule<H::Value>,
) -> (Landing<H>, Option<H::Error>) {
    let mut own = None;
    let returned = match ran {
        Ran::Returned(output) => returned::<H>(output, &keep, &mut own),
        Ran::Panicked(panic) => Returned::Panicked(panic),
        Ran::TimedOut(limit) => Returned::TimedOut(limit),
    };
    ((flight.land)(flight, returned), own)
}

/// Returns the result of a call that another caller's load ended, or `None` if the function must run.
#[inline(never)]
pub fn answer<H: Handling>(_: H, ended: Ended<H::Value, H::Shared>) -> Option<H::Output> {
    match settle::<H>(*ended.0, Loader::Another) {
        Settled::Answer(output) => Some(output),
        Settled::Fail(error) => fail(&error),
        Settled::Uncoalesced(_) => None,
    }
}

/// Returns the result of a call whose function has run.
#[inline(never)]
pub fn finish<H: Handling>(_: H, ended: Ended<H::Value, H::Shared>, own: Option<H::Error>) -> H::Output {
    match settle::<H>(*ended.0, Loader::This(own)) {
        Settled::Answer(output) => output,
        Settled::Fail(error) | Settled::Uncoalesced(error) => fail(&error),
    }
}

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storing {
    Not,
    /// Under the function's policy.
    AsUsual,
    /// For this time. `None` is for ever.
    For(Option<Duration>),
}

/// Says how each value is stored.
pub trait StoreRule<V> {
    fn storing(&self, value: &V) -> Storing;
}

impl<V, K: StoreRule<V>> StoreRule<V> for &K {
    fn storing(&self, value: &V) -> Storing {
        (**self).storing(value)
    }
}

/// Stores values by the closure of `store_if = …`.
pub struct StoreIf<K>(K);

impl<V, K: Fn(&V) -> bool> StoreRule<V> for StoreIf<K> {
    fn storing(&self, value: &V) -> Storing {
        if (self.0)(value) {
            Storing::AsUsual
        } else {
            Storing::Not
        }
    }
}

/// Gives the closure of `store_if = …` its type.
pub fn keep_if<H: Handling, K: Fn(&H::Value) -> bool>(_: H, keep: K) -> StoreIf<K> {
    StoreIf(keep)
}

/// Stores values by the closures of `store_if = …` and `ttl_of = …`.
pub struct StoreForTtl<K, L, R> {
    keep: K,
    ttl: L,
    time: PhantomData<fn() -> R>,
}

impl<V, K, L, R> StoreRule<V> for StoreForTtl<K, L, R>
where
    K: Fn(&V) -> bool,
    L: Fn(&V) -> R,
    R: Time,
{
    fn storing(&self, value: &V) -> Storing {
        match (self.keep)(value) {
            true => Storing::For((self.ttl)(value).time()),
            false => Storing::Not,
        }
    }
}

/// Gives the closures of `store_if = …` and `ttl_of = …` their types.
pub fn keep_for<H, K, L, R>(_: H, keep: K, ttl: L) -> StoreForTtl<K, L, R>
where
    H: Handling,
    K: Fn(&H::Value) -> bool,
    L: Fn(&H::Value) -> R,
    R: Time,
{
    StoreForTtl {
        keep,
        ttl,
        time: PhantomData,
    }
}

/// What is asked of a call, with how to store a value that is given.
struct AskedFor<V> {
    request: Request<V>,
    storing: Storing,
}

fn asked_for<V>(request: Option<Box<Request<V>>>, keep: impl StoreRule<V>) -> Option<AskedFor<V>> {
    request.map(|request| AskedFor {
        storing: match &*request {
            Request::Store(_, Some(Some(value))) => keep.storing(value),
            _ => Storing::AsUsual,
        },
        request: *request,
    })
}

impl<V: Send + Sync + 'static> AskedFor<V> {
    /// Answers what is asked, in the place of the load. Continues with `reading` if the call is to load.
    ///
    /// # Errors
    /// Returns the outcome that ends the call.
    async fn answer<E, D>(
        self,
        cache: &Cache<D>,
        key: &Key,
        reading: Reading<V>,
        is_optional: bool,
    ) -> Result<Reading<V>, Outcome<V, E>>
    where
        D: Codes<V> + Send + Sync + 'static,
    {
        let events = &cache.engine.shared.events;
        match self.request {
            Request::Anew => Ok(reading),
            Request::Stored(question) => match reading.read {
                Read::NegativeHit(_, terms) if is_optional => {
                    events.emit(&Event::NegativeHit { key });
                    cache.engine.contribute_terms(|| *terms);
                    Err(Ok(None))
                }
                Read::Unavailable(error) => {
                    events.emit(&Event::Outage { key });
                    question.end(Err(error)).await
                }
                _ => {
                    events.emit(&Event::Miss { key });
                    question.end(Ok(())).await
                }
            },
            Request::Store(question, None) => question.end(Ok(())).await,
            Request::Store(question, Some(value)) => {
                let stored = store(cache, key, value, self.storing).await;
                question.end(stored).await
            }
        }
    }
}

/// Stores a value, or that there is none, as if the function had just returned it. What the function does not store ends
/// what is stored.
async fn store<V, D>(cache: &Cache<D>, key: &Key, value: Option<Arc<V>>, storing: Storing) -> Result<(), Error>
where
    V: Send + Sync + 'static,
    D: Codes<V> + Send + Sync + 'static,
{
    let cache = match storing {
        Storing::For(ttl) if value.is_some() => &cache.with_ttl(ttl),
        _ => cache,
    };
    let policy = cache.policy();
    let is_stored = match &value {
        Some(_) => storing != Storing::Not && policy.keeps_values(),
        None => policy.negative_ttl.is_some_and(|ttl| !ttl.is_zero()),
    };
    if !is_stored {
        return cache.invalidate(key).await;
    }
    cache.put(key, value, None).await?;
    cache.engine.shared.events.emit(&Event::Stored { key });
    Ok(())
}

type Slot<T> = Arc<Mutex<Option<T>>>;

/// What a call and its load in another task share.
pub struct Slots<E, F> {
    body: Slot<Pin<Box<F>>>,
    /// The function's own error.
    own: Slot<E>,
}

/// Returns what a call and its load in another task share.
pub fn slots<H: Handling, F>(_: H, body: Pin<Box<F>>) -> Slots<H::Error, F> {
    Slots {
        body: Arc::new(Mutex::new(Some(body))),
        own: Arc::new(Mutex::new(None)),
    }
}

/// Loads in a task of its own, which continues if the caller is cancelled. Refreshes a stale value in the background.
#[inline(never)]
pub fn load_detached<H, C, D, F>(
    _: H,
    cache: &Cache<C>,
    coding: D,
    missed: Missed<H::Value>,
    slots: &Slots<H::Error, F>,
    keep: impl StoreRule<H::Value> + Send + 'static,
) -> Boxed<'static, Ended<H::Value, H::Shared>>
where
    H: Handling,
    H::Error: Send + 'static,
    D: Coding<C>,
    D::Coder: Codes<H::Value>,
    F: Future<Output = H::Output> + Send + 'static,
{
    let NotFound {
        key,
        reading,
        request,
        policy,
    } = *missed.0;
    let cache = handle::<H, _, _>(cache, coding, policy.unwrap_or(*cache.policy()));
    let request = asked_for(request, &keep);
    let (body, own) = (Arc::clone(&slots.body), Arc::clone(&slots.own));
    let load = move |_: Load<H::Value>| async move {
        match take(&body) {
            Some(body) => {
                let output = body.await;
                let mut error = None;
                let ended = returned::<H>(output, &keep, &mut error);
                *lock(&own) = error;
                match ended {
                    Returned::Failed(error) => Err(error),
                    Returned::Loaded(loaded) => Ok(loaded),
                    Returned::Panicked(_) | Returned::TimedOut(_) => Ok(nothing()),
                }
            }
            None => Ok(nothing()),
        }
    };
    Box::pin(async move {
        let accepts = accepts::<H>(&reading, request.is_some());
        let reading = match request {
            Some(request) => match request.answer(&cache, &key, reading, accepts.negative).await {
                Ok(reading) => reading,
                Err(outcome) => return Ended::new(outcome),
            },
            None => reading,
        };
        Ended::new(cache.engine.load_detached(&key, reading, accepts, load).await)
    })
}

/// Returns the result of a call whose load ran in another task, or the body that must run.
///
/// # Errors
/// Returns the body.
pub fn finish_detached<H: Handling, F>(
    _: H,
    ended: Ended<H::Value, H::Shared>,
    slots: &Slots<H::Error, F>,
) -> Result<H::Output, Pin<Box<F>>> {
    // If the body is gone, this call's load has taken it. If not, a refresh in the background may be about to take it.
    let loader = if lock(&slots.body).is_none() {
        Loader::This(take(&slots.own))
    } else {
        Loader::Another
    };
    match settle::<H>(*ended.0, loader) {
        Settled::Answer(output) => Ok(output),
        Settled::Fail(error) => fail(&error),
        Settled::Uncoalesced(error) => match take(&slots.body) {
            Some(body) => Err(body),
            None => fail(&error),
        },
    }
}

/// Captures the tags of a call that is not cached, for the load that it is made in.
#[inline(never)]
pub fn capture<C>(cache: &Cache<C>, contributes: bool) -> Option<Boxed<'_, ()>> {
    (contributes && is_within_load()).then(|| -> Boxed<'_, ()> {
        let (names, records) = (cache.engine.tags.names(), &cache.engine.shared.tier.tags);
        Box::pin(async move { Tagger::current().capture_for(names, records).await })
    })
}

/// Returns a handle with the function's own settings.
#[inline(never)]
fn handle<H, C, D>(cache: &Cache<C>, coding: D, policy: Policy) -> Cache<D::Coder>
where
    H: Handling,
    D: Coding<C>,
{
    let mut cache = coding.handle(cache);
    cache.engine.set_policy(if H::CONVERTS {
        policy
    } else {
        // The function's return type cannot express that the load was cancelled.
        policy.with_load_timeout(None)
    });
    cache
}

/// Returns what a call accepts. If it `is_asked` to load, that is nothing that was read.
fn accepts<H: Handling>(reading: &Reading<H::Value>, is_asked: bool) -> Accepts {
    Accepts {
        negative: H::OPTIONAL,
        except: reading.read.version().filter(|_| is_asked),
        // The function's return type cannot express a failure of which only the text is known.
        needs_error: !H::CONVERTS,
    }
}

/// Converts the function's result to that of a load. What remains of the function's error for its own caller is stored
/// in `own`.
fn returned<H: Handling>(
    output: H::Output,
    keep: impl StoreRule<H::Value>,
    own: &mut Option<H::Error>,
) -> Returned<H::Value, H::Shared> {
    match H::split(output) {
        Ok(Some(value)) => Returned::Loaded(match keep.storing(&value) {
            Storing::AsUsual => Loaded::shared(value),
            Storing::For(ttl) => Loaded::shared(value).with_ttl(ttl),
            Storing::Not => Loaded::shared(value).do_not_store(),
        }),
        Ok(None) => Returned::Loaded(Loaded::absent()),
        Err(error) => {
            let shared;
            (shared, *own) = H::share(error);
            Returned::Failed(shared)
        }
    }
}

/// Returns the result of a load whose body was already taken. The load takes the body; the caller takes it only if
/// there is no load.
fn nothing<V>() -> Loaded<V> {
    Loaded::absent().do_not_store()
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    lock(slot).take()
}
