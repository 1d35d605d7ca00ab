//! Loads the result of a call.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::coder::{Codes, Coding};
use super::lookup::Missed;
use super::return_type::plan::Handling;
use super::run::{Ran, Run};
use super::settle::{Loader, Settled, fail, settle};
use crate::cache::handle::Cache;
use crate::load::acquire;
use crate::load::call::Accepts;
use crate::load::context::{Load, Loaded};
use crate::load::drive::Next;
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::Edges;
use crate::load::policy::Policy;
use crate::load::run::{self, Returned};
use crate::load::stack::LoadStack;
use crate::store::record::Found;
use crate::tags::ambient::is_within_load;
use crate::tags::scope::Tagger;

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

/// A load that a call leads.
pub struct Flight<T, E, D> {
    engine: Engine<D>,
    fill: Fill<T, E>,
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
    policy: Policy,
    missed: Missed<H::Value>,
) -> Boxed<'static, Acquired<H::Value, H::Shared, D::Coder>>
where
    H: Handling,
    D: Coding<C>,
    D::Coder: Codes<H::Value>,
{
    let engine = handle::<H, _, _>(cache, coding, policy).engine;
    Box::pin(async move {
        let (key, reading) = *missed.0;
        let accepts = accepts::<H>();
        let mut call = engine.call(accepts);
        // The stale value is the answer unless the load returns a new one.
        let (start, fallback) = match engine.next(&key, reading, &mut call).await {
            Next::Done(outcome) => return Acquired::answered(outcome),
            Next::Circular => return Acquired::answered(Err(LoadError::Circular(Box::new(key)))),
            Next::Uncoalesced | Next::Preview(_) => {
                engine.contribute_uncoalesced().await;
                return Acquired::Uncoalesced;
            }
            Next::Stale(stale, None) => return Acquired::answered(or_stale(&engine, Ok(None), Some(stale))),
            Next::Stale(stale, Some(start)) => (start, Some(stale)),
            Next::Load(start, _) => (start, None),
        };
        let within = call.stack.as_deref().map_or(&[][..], LoadStack::flights);
        let edges = start.fill.lead().map(|lead| lead.waited_for_by(within));
        match engine.acquire(start, accepts).await {
            acquire::Acquired::Answered(outcome) => Acquired::answered(or_stale(&engine, outcome, fallback)),
            acquire::Acquired::Load(fill) => Acquired::Lead(Box::new(Flight {
                engine,
                fill,
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
        let (engine, fill) = (&self.engine, &mut self.fill);
        let keeper = Box::pin(async move {
            match engine.limited(fill.renewing(pending::<Infallible>())).await {
                Ok(never) => match never {},
                Err(limit) => limit,
            }
        });
        Run {
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
            engine, fill, fallback, ..
        } = *flight;
        match engine.end(fill, returned).await {
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
    keep: impl Fn(&H::Value) -> bool,
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

/// Gives the closure of `store_if = …` its type.
pub fn keep_if<H: Handling, K: Fn(&H::Value) -> bool>(_: H, keep: K) -> K {
    keep
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
    policy: Policy,
    missed: Missed<H::Value>,
    slots: &Slots<H::Error, F>,
    keep: impl Fn(&H::Value) -> bool + Send + 'static,
) -> Boxed<'static, Ended<H::Value, H::Shared>>
where
    H: Handling,
    H::Error: Send + 'static,
    D: Coding<C>,
    D::Coder: Codes<H::Value>,
    F: Future<Output = H::Output> + Send + 'static,
{
    let engine = handle::<H, _, _>(cache, coding, policy).engine;
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
        let (key, reading) = *missed.0;
        Ended::new(engine.load_detached(&key, reading, accepts::<H>(), load).await)
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
    cache.engine.policy = policy;
    if !H::CONVERTS {
        // The function's return type cannot express that the load was cancelled.
        cache.engine.policy.load_timeout = None;
    }
    cache
}

fn accepts<H: Handling>() -> Accepts {
    Accepts {
        negative: H::OPTIONAL,
        except: None,
        // The function's return type cannot express a failure of which only the text is known.
        needs_error: !H::CONVERTS,
    }
}

/// Converts the function's result to that of a load. What remains of the function's error for its own caller is stored
/// in `own`.
fn returned<H: Handling>(
    output: H::Output,
    keep: impl Fn(&H::Value) -> bool,
    own: &mut Option<H::Error>,
) -> Returned<H::Value, H::Shared> {
    match H::split(output) {
        Ok(Some(value)) if keep(&value) => Returned::Loaded(Loaded::shared(value)),
        Ok(Some(value)) => Returned::Loaded(Loaded::shared(value).do_not_store()),
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
