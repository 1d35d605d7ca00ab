//! A call of a function that is cached.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use cache_core::{Error, Key};

use super::access::{Codes, Coding};
use super::error::CallError;
use super::probe::Handling;
use crate::cache::handle::Cache;
use crate::event::Event;
use crate::load::context::{Load, Loaded};
use crate::load::error::LoadError;
use crate::load::fill::Outcome;
use crate::load::policy::Policy;
use crate::load::step::Ask;
use crate::tier::read::Read;

/// What a call found.
#[derive(Debug)]
pub struct Looked<V>(State<V>);

#[derive(Debug)]
enum State<V> {
    Hit(Arc<V>),
    Seen(Key, Read<V>),
    /// It goes past the cache.
    Alone,
}

impl<V> Looked<V> {
    /// A call that is not to be cached.
    #[must_use]
    pub const fn alone() -> Self {
        Self(State::Alone)
    }
}

/// Looks whether the result of a call is there.
#[inline]
pub async fn look<H, C, D>(_: H, cache: &Cache<C>, coding: &D, key: Result<Key, Error>) -> Looked<H::Value>
where
    H: Handling,
    D: Coding<C>,
    D::Coder: Codes<H::Value>,
{
    if !cache.engine.shared.is_enabled() {
        return Looked(State::Alone);
    }
    let key = match key {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!(target: "cache", %error, "a call has no key, and is not cached");
            return Looked(State::Alone);
        }
    };
    match cache.engine.shared.tier.see_near(&key, coding.coder(cache)).await {
        Read::Fresh(found, _) => {
            cache.engine.shared.events.emit(&Event::Hit { key: &key });
            Looked(State::Hit(found.value))
        }
        seen => Looked(State::Seen(key, seen)),
    }
}

/// Whether a call can be answered from what it found.
#[derive(Debug)]
pub enum Answered<R, L> {
    Now(R),
    /// This is to be loaded.
    NotYet(L),
}

/// The result, if it was there.
#[inline]
pub fn hit<H: Handling>(_: H, looked: Looked<H::Value>) -> Answered<H::Output, Looked<H::Value>> {
    match looked.0 {
        State::Hit(value) => H::join(Ok(Some(value))).map_or(Answered::NotYet(Looked::alone()), Answered::Now),
        _ => Answered::NotYet(looked),
    }
}

/// Loads in the caller's own task, by a `body` that may borrow from it.
pub async fn load_borrowing<H, C, D, F>(
    _: H,
    cache: &Cache<C>,
    coding: D,
    policy: Policy,
    keep: impl Fn(&H::Value) -> bool,
    looked: Looked<H::Value>,
    body: F,
) -> H::Output
where
    H: Handling,
    D: Coding<C>,
    D::Coder: Codes<H::Value>,
    F: Future<Output = H::Output>,
{
    let State::Seen(key, seen) = looked.0 else {
        return body.await;
    };
    let cache = handle::<H, _, _>(cache, coding, policy);
    let mut body = pin!(body);
    let (mut ready, mut own) = (Some(body.as_mut()), None);
    let load = {
        let (ready, own, keep) = (&mut ready, &mut own, &keep);
        move |_: Load<H::Value>| async move {
            match ready.take() {
                Some(body) => outcome::<H>(body.await, keep, |error| *own = Some(error)),
                None => absent(),
            }
        }
    };
    // Boxed, so that a hit does not carry its weight.
    let outcome = Box::pin(cache.borrowing().obtain_unless(&key, seen, ask::<H>(), load)).await;
    match settle::<H>(outcome, own) {
        Settled::Answer(output) => output,
        Settled::Fail(error) => fail(&error),
        Settled::Alone(error) => match ready {
            Some(body) => body.await,
            None => fail(&error),
        },
    }
}

/// Loads in a task of its own, which goes on if the caller goes away, and refreshes a stale value behind the caller's
/// back.
pub async fn load_detached<H, C, D, F>(
    _: H,
    cache: &Cache<C>,
    coding: D,
    policy: Policy,
    keep: impl Fn(&H::Value) -> bool + Send + 'static,
    looked: Looked<H::Value>,
    body: F,
) -> H::Output
where
    H: Handling,
    H::Error: Send + 'static,
    D: Coding<C>,
    D::Coder: Codes<H::Value>,
    F: Future<Output = H::Output> + Send + 'static,
{
    let State::Seen(key, seen) = looked.0 else {
        return body.await;
    };
    let cache = handle::<H, _, _>(cache, coding, policy);
    let ready = Arc::new(Mutex::new(Some(Box::pin(body))));
    let own = Arc::new(Mutex::new(None));
    let load = {
        let (ready, own) = (Arc::clone(&ready), Arc::clone(&own));
        move |_: Load<H::Value>| async move {
            match take(&ready) {
                Some(body) => {
                    let output = body.await;
                    outcome::<H>(output, &keep, |error| put(&own, error))
                }
                None => absent(),
            }
        }
    };
    let outcome = Box::pin(cache.obtain_unless(&key, seen, ask::<H>(), load)).await;
    match settle::<H>(outcome, take(&own)) {
        Settled::Answer(output) => output,
        Settled::Fail(error) => fail(&error),
        Settled::Alone(error) => match take(&ready) {
            Some(body) => body.await,
            None => fail(&error),
        },
    }
}

/// A handle with the function's own settings.
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

/// What a function's result is to the cache.
fn outcome<H: Handling>(
    output: H::Output,
    keep: impl Fn(&H::Value) -> bool,
    own: impl FnOnce(H::Error),
) -> Result<Loaded<H::Value>, H::Shared> {
    match H::split(output) {
        Ok(Some(value)) if keep(&value) => Ok(Loaded::shared(value)),
        Ok(Some(value)) => Ok(Loaded::shared(value).do_not_store()),
        Ok(None) => Ok(Loaded::absent()),
        Err(error) => {
            let shared = H::share(&error);
            own(error);
            Err(shared)
        }
    }
}

/// A load that has nothing to run: a body is taken by its load, and by its caller only when there is none.
fn absent<V, S>() -> Result<Loaded<V>, S> {
    Ok(Loaded::absent().do_not_store())
}

/// What a call ends with.
enum Settled<R> {
    Answer(R),
    /// There is no value, and the function's type cannot say why.
    Fail(CallError),
    /// As `Fail`, if the function has run already; if not, its caller is to run it.
    Alone(CallError),
}

fn settle<H: Handling>(outcome: Outcome<H::Value, H::Shared>, own: Option<H::Error>) -> Settled<H::Output> {
    let error = match outcome {
        Ok(found) => {
            return match H::join(Ok(found.map(|found| found.value))) {
                Some(output) => Settled::Answer(output),
                None => Settled::Alone(LoadError::Remembered("there is no value".into())),
            };
        }
        Err(error) => error,
    };
    let error = match error {
        LoadError::Failed(shared) => {
            return match own
                .or_else(|| H::restore(&shared))
                .and_then(|error| H::join(Err(error)))
            {
                Some(output) => Settled::Answer(output),
                None => Settled::Alone(LoadError::Remembered("the load of another caller failed".into())),
            };
        }
        LoadError::Panicked(message) => return Settled::Fail(LoadError::Panicked(message)),
        LoadError::Remembered(message) => LoadError::Remembered(message),
        LoadError::TimedOut(after) => LoadError::TimedOut(after),
        LoadError::Circular(key) => LoadError::Circular(key),
    };
    match H::convert(error).map(|error| H::join(Err(error))) {
        Ok(Some(output)) => Settled::Answer(output),
        Ok(None) => Settled::Fail(LoadError::Remembered("there is no value".into())),
        Err(error @ LoadError::Circular(_)) => Settled::Fail(error),
        Err(error) => Settled::Alone(error),
    }
}

/// A panic is passed on to all who waited. That a function asks for its own entry is a mistake in the program, which
/// only a function that returns a fitting error can report in another way.
fn fail(error: &CallError) -> ! {
    match error {
        LoadError::Panicked(message) => panic!("{message}"),
        error => panic!("a function that is cached has no value: {error}"),
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put<T>(slot: &Mutex<Option<T>>, value: T) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
}
