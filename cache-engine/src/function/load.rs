//! Loads the result of a call.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_core::Key;

use super::coder::{Codes, Coding};
use super::lookup::{Looked, State};
use super::return_type::plan::Handling;
use super::run::{Ran, Run};
use super::settle::{Settled, fail, settle};
use crate::cache::handle::Cache;
use crate::load::acquire::Prepared;
use crate::load::context::{Load, Loaded};
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::Edges;
use crate::load::policy::Policy;
use crate::load::run::{Ended, Flown};
use crate::load::stack::LoadStack;
use crate::load::step::{Ask, Take};
use crate::store::record::Found;
use crate::tags::scope::Tagger;
use crate::tier::read::Read;

type Boxed<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// Boxes a body.
#[must_use]
pub fn boxed<F: Future>(body: F) -> Pin<Box<F>> {
    Box::pin(body)
}

/// Loads in the caller's own task. `body` may borrow from it.
///
/// The steps before and after the body are futures of their own, which are made out of line and are gone while the body
/// runs: functions within functions are on the stack together, and hold as little of it as they can.
pub async fn load_borrowing<H, C, D, F>(
    _: H,
    cache: &Cache<C>,
    coding: D,
    policy: Policy,
    keep: impl Fn(&H::Value) -> bool,
    looked: Looked<H::Value>,
    body: Pin<Box<F>>,
) -> H::Output
where
    H: Handling,
    D: Coding<C>,
    D::Coder: Codes<H::Value>,
    F: Future<Output = H::Output>,
{
    let State::Missed(missed) = looked.0 else {
        return body.await;
    };
    let mut flight = match acquire::<H, _>(handle::<H, _, _>(cache, coding, policy), missed).await {
        Acquired::Lead(flight) => flight,
        Acquired::Uncoalesced => return body.await,
        Acquired::Answered(outcome) => {
            return match settle::<H>(outcome, None) {
                Settled::Answer(output) => output,
                Settled::Fail(error) => fail(&error),
                Settled::Uncoalesced(_) => body.await,
            };
        }
    };
    let (stack, tagger) = flight.enter();
    let ran = Run {
        body,
        stack: &stack,
        tagger: &tagger,
        keeper: flight.keep(),
    }
    .await;
    let mut own = None;
    let ended = match ran {
        Ran::Returned(output) => ended::<H>(output, &keep, &mut own),
        Ran::Panicked(panic) => Ended::Panicked(panic),
        Ran::TimedOut(limit) => Ended::TimedOut(limit),
    };
    let outcome = flight.land(ended).await;
    match settle::<H>(outcome, own) {
        Settled::Answer(output) => output,
        Settled::Fail(error) | Settled::Uncoalesced(error) => fail(&error),
    }
}

/// What a call has to do about a value that was not there.
enum Acquired<T, E, D> {
    /// Load it.
    Lead(Box<Flight<T, E, D>>),
    /// Nothing: another caller has loaded it, or cannot.
    Answered(Outcome<T, E>),
    /// Run the function for itself alone.
    Uncoalesced,
}

/// A load that a call leads.
struct Flight<T, E, D> {
    engine: Engine<D>,
    fill: Fill<T, E>,
    /// What is answered if the load fails.
    fallback: Option<Found<T>>,
    /// The loads that this one runs in, which wait for it.
    _edges: Option<Edges>,
}

/// Waits for the loads of other callers, or takes the lead.
#[inline(never)]
fn acquire<H, D>(
    cache: Cache<D>,
    missed: Box<(Key, Read<H::Value>)>,
) -> Boxed<'static, Acquired<H::Value, H::Shared, D>>
where
    H: Handling,
    D: Codes<H::Value> + Send + Sync + 'static,
{
    Box::pin(async move {
        let (key, read) = *missed;
        let engine = cache.engine;
        let ask = ask::<H>();
        let mut acquired = None;
        let outcome = {
            let (engine, acquired) = (&engine, &mut acquired);
            let launch = move |take: Option<Take<H::Value, H::Shared>>| async move {
                match take {
                    None => *acquired = Some(None),
                    Some(take) => match engine.prepare(take, ask).await {
                        Prepared::Answered(outcome) => return outcome,
                        Prepared::Go(fill) => {
                            let outer = LoadStack::current();
                            let within = outer.as_deref().map_or(&[][..], LoadStack::flights);
                            let edges = fill.lead().map(|lead| lead.waited_for_by(within));
                            *acquired = Some(Some((fill, edges)));
                        }
                    },
                }
                // The load comes later.
                Err(LoadError::Remembered(Arc::default()))
            };
            engine.drive(&key, read, ask, false, launch).await
        };
        match acquired {
            None => Acquired::Answered(outcome),
            Some(None) => Acquired::Uncoalesced,
            Some(Some((fill, edges))) => Acquired::Lead(Box::new(Flight {
                engine,
                fill,
                // A stale value is the outcome until the load has brought a new one.
                fallback: outcome.ok().flatten(),
                _edges: edges,
            })),
        }
    })
}

impl<T, E, D> Flight<T, E, D>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    D: Codes<T> + Send + Sync + 'static,
{
    /// Begins the load, and returns what it runs in.
    #[inline(never)]
    fn enter(&mut self) -> (Arc<LoadStack>, Tagger) {
        let stack = self.engine.take_off(&mut self.fill, LoadStack::current());
        (stack, self.fill.tagger().clone())
    }

    /// Keeps the lease, until the time limit of the load.
    #[inline(never)]
    fn keep(&mut self) -> Boxed<'_, Duration> {
        let (engine, fill) = (&self.engine, &mut self.fill);
        Box::pin(async move {
            match engine.limited(fill.renewing(pending::<Infallible>())).await {
                Ok(never) => match never {},
                Err(limit) => limit,
            }
        })
    }

    /// Ends the load, and returns what its caller gets.
    #[inline(never)]
    fn land(self: Box<Self>, ended: Ended<T, E>) -> Boxed<'static, Outcome<T, E>> {
        Box::pin(async move {
            let Self {
                engine, fill, fallback, ..
            } = *self;
            match (engine.land(fill, ended).await, fallback) {
                (Flown::Panicked(_, panic), _) => resume_unwind(panic),
                (Flown::Landed(Ok(Some(found))), _) => Ok(Some(found)),
                (_, Some(stale)) => Ok(Some(stale)),
                (Flown::Landed(outcome), None) => outcome,
            }
        })
    }
}

/// Loads in a task of its own, which goes on if the caller goes away, and refreshes a stale value in the background.
pub async fn load_detached<H, C, D, F>(
    _: H,
    cache: &Cache<C>,
    coding: D,
    policy: Policy,
    keep: impl Fn(&H::Value) -> bool + Send + 'static,
    looked: Looked<H::Value>,
    body: Pin<Box<F>>,
) -> H::Output
where
    H: Handling,
    H::Error: Send + 'static,
    D: Coding<C>,
    D::Coder: Codes<H::Value>,
    F: Future<Output = H::Output> + Send + 'static,
{
    let State::Missed(missed) = looked.0 else {
        return body.await;
    };
    let slots = Slots::<H, F> {
        body: Arc::new(Mutex::new(Some(body))),
        own: Arc::new(Mutex::new(None)),
    };
    let outcome = obtain_detached(handle::<H, _, _>(cache, coding, policy), missed, &slots, keep).await;
    match settle::<H>(outcome, take(&slots.own)) {
        Settled::Answer(output) => output,
        Settled::Fail(error) => fail(&error),
        Settled::Uncoalesced(error) => match take(&slots.body) {
            Some(body) => body.await,
            None => fail(&error),
        },
    }
}

type Slot<T> = Arc<Mutex<Option<T>>>;

/// What a call and its load in another task share.
struct Slots<H: Handling, F> {
    body: Slot<Pin<Box<F>>>,
    /// The function's own error.
    own: Slot<H::Error>,
}

#[inline(never)]
fn obtain_detached<H, D, F>(
    cache: Cache<D>,
    missed: Box<(Key, Read<H::Value>)>,
    slots: &Slots<H, F>,
    keep: impl Fn(&H::Value) -> bool + Send + 'static,
) -> Boxed<'static, Outcome<H::Value, H::Shared>>
where
    H: Handling,
    H::Error: Send + 'static,
    D: Codes<H::Value> + Send + Sync + 'static,
    F: Future<Output = H::Output> + Send + 'static,
{
    let (body, own) = (Arc::clone(&slots.body), Arc::clone(&slots.own));
    let load = move |_: Load<H::Value>| async move {
        match take(&body) {
            Some(body) => {
                let output = body.await;
                let mut error = None;
                let ended = ended::<H>(output, &keep, &mut error);
                *own.lock().unwrap_or_else(PoisonError::into_inner) = error;
                match ended {
                    Ended::Failed(error) => Err(error),
                    Ended::Loaded(loaded) => Ok(loaded),
                    Ended::Panicked(_) | Ended::TimedOut(_) => Ok(nothing()),
                }
            }
            None => Ok(nothing()),
        }
    };
    Box::pin(async move {
        let (key, read) = *missed;
        cache.obtain_unless(&key, read, ask::<H>(), load).await
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
        // The function could not say that it was cancelled.
        cache.engine.policy.load_timeout = None;
    }
    cache
}

fn ask<H: Handling>() -> Ask {
    Ask {
        absent: H::OPTIONAL,
        not: None,
    }
}

/// Returns how a load ended, by what the function returned. Its own error goes to `own`.
fn ended<H: Handling>(
    output: H::Output,
    keep: impl Fn(&H::Value) -> bool,
    own: &mut Option<H::Error>,
) -> Ended<H::Value, H::Shared> {
    match H::split(output) {
        Ok(Some(value)) if keep(&value) => Ended::Loaded(Loaded::shared(value)),
        Ok(Some(value)) => Ended::Loaded(Loaded::shared(value).do_not_store()),
        Ok(None) => Ended::Loaded(Loaded::absent()),
        Err(error) => {
            let shared = H::share(&error);
            *own = Some(error);
            Ended::Failed(shared)
        }
    }
}

/// The result of a load that has no body: its load takes it, and its caller only if there is none.
fn nothing<V>() -> Loaded<V> {
    Loaded::absent().do_not_store()
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
