//! Reads the cache for a call.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cache_core::{Coder as _, Error, Key};
use pin_project_lite::pin_project;

use super::ask::{Request, take_request};
use super::coder::{Codes, Coding};
use super::return_type::plan::Handling;
use crate::cache::handle::Cache;
use crate::load::flight::ResultType;
use crate::load::on_hit::OnHit;
use crate::load::policy::Policy;
use crate::load::reading::Reading;
use crate::log::log_error;
use crate::store::record::Found;
use crate::tags::ambient::{Flags, flags};
use crate::tier::precondition::Precondition;
use crate::tier::read::Read;

/// The result of a lookup for a call.
#[derive(Debug)]
pub enum Looked<V> {
    Hit(Arc<V>),
    Missed(Stored<V>),
    /// The call is not cached.
    Bypassed,
}

/// What was read instead of a fresh value, and what is asked of the call. Boxed, so that a hit does not need the space
/// for it.
pub struct Stored<V>(Box<AfterRead<V>>);

struct AfterRead<V> {
    reading: Reading<V>,
    request: Option<Box<Request<V>>>,
}

/// A key, what was read instead of a fresh value, and what is asked of the call.
pub struct Missed<V>(pub(super) Box<NotFound<V>>);

pub(super) struct NotFound<V> {
    pub(super) key: Key,
    pub(super) reading: Reading<V>,
    pub(super) request: Option<Box<Request<V>>>,
    /// How to load, which is found out before the body takes the arguments. `None` is as the cache says.
    pub(super) policy: Option<Policy>,
}

impl<V> Missed<V> {
    /// Sets how to load.
    #[must_use]
    pub fn with(mut self, policy: Policy) -> Self {
        self.0.policy = Some(policy);
        self
    }
}

impl<V> fmt::Debug for Stored<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stored")
    }
}

impl<V> fmt::Debug for Missed<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Missed")
    }
}

/// What a call has to do besides a plain lookup. Boxed, so that a plain lookup has one thing to ask and no room for it.
pub struct Asked<V> {
    special: Option<Box<Special<V>>>,
}

struct Special<V> {
    flags: Flags,
    on_hit: Option<OnHit>,
    request: Option<Box<Request<V>>>,
}

/// Returns what a call has to do besides a plain lookup. `own` are the function's own settings about hits, if it has any
/// but the cache's.
#[inline]
pub fn asked<H: Handling, C>(_: H, cache: &Cache<C>, own: Option<Option<OnHit>>) -> Asked<H::Value> {
    let flags = flags();
    let request = if flags.is_asked() {
        take_request::<H>(flags)
    } else {
        None
    };
    let on_hit = own.unwrap_or(cache.engine.on_hit);
    Asked {
        special: (!flags.is_empty() || on_hit.is_some()).then(|| Box::new(Special { flags, on_hit, request })),
    }
}

pin_project! {
    /// A future that is polled in a separate call, so that a function that awaits it does not reserve stack space for
    /// it while its body runs.
    #[derive(Debug)]
    pub struct OutOfLine<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for OutOfLine<F> {
    type Output = F::Output;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(context)
    }
}

/// Looks up the result of a call. Without a key, the call is not cached. `result` is the type that a load of the call lands
/// with, if its tags are those of the handle.
#[inline]
pub fn look<'a, V, C, D>(
    asked: Asked<V>,
    cache: &'a Cache<C>,
    coding: &'a D,
    key: &'a Option<Result<Key, Error>>,
    result: Option<TypeId>,
    contributes: bool,
) -> OutOfLine<impl Future<Output = Looked<V>> + use<'a, V, C, D>>
where
    V: Send + Sync + 'static,
    D: Coding<C>,
    D::Coder: Codes<V>,
{
    OutOfLine {
        future: read(asked, cache, coding, key, result, contributes),
    }
}

/// Reads the cache for a call, up to a fresh value.
///
/// Like all futures here, this one has the types of values and errors as parameters, and not the plan that determines
/// them. The plan's traits require `'static`, which the compiler cannot prove in a future that must be `Send`.
async fn read<V, C, D>(
    asked: Asked<V>,
    cache: &Cache<C>,
    coding: &D,
    key: &Option<Result<Key, Error>>,
    result: Option<TypeId>,
    contributes: bool,
) -> Looked<V>
where
    V: Send + Sync + 'static,
    D: Coding<C>,
    D::Coder: Codes<V>,
{
    let shared = &cache.engine.shared;
    if let Some(special) = asked.special {
        let contributes = contributes && special.flags.is_within_load();
        return read_specially(*special, cache, coding, key, result, contributes).await;
    }
    let key = match key {
        Some(Ok(key)) if shared.is_enabled() => key,
        Some(Err(error)) => {
            log_error("a call has no key, so it is not cached", Some(error));
            cache.report_bypass("no-key");
            return Looked::Bypassed;
        }
        Some(Ok(_)) => {
            cache.report_unused();
            return Looked::Bypassed;
        }
        None => return Looked::Bypassed,
    };
    let coder = coding.coder(cache);
    // Nothing contributes here, since the task runs in no load.
    let fresh = match shared.tier.read_now(key, coder.type_version()) {
        ControlFlow::Break(fresh) => fresh,
        ControlFlow::Continue(read) => {
            let result = result.map(|result| ResultType::new(result, coder.type_version()));
            let reading = shared.read_to_load(read, key, coder, &cache.engine.tags, result).await;
            match reading.into_fresh() {
                ControlFlow::Break(fresh) => fresh,
                ControlFlow::Continue(reading) => return missed(reading, None),
            }
        }
    };
    let (value, tier) = fresh;
    cache.report_hit(key, tier);
    Looked::Hit(value)
}

fn missed<V>(reading: Reading<V>, request: Option<Box<Request<V>>>) -> Looked<V> {
    Looked::Missed(Stored(Box::new(AfterRead { reading, request })))
}

/// As [`read`], for a call that has to do more. Boxed, to keep the future of a plain lookup small.
#[inline(never)]
fn read_specially<'a, V, C, D>(
    special: Special<V>,
    cache: &'a Cache<C>,
    coding: &'a D,
    key: &'a Option<Result<Key, Error>>,
    result: Option<TypeId>,
    contributes: bool,
) -> Pin<Box<impl Future<Output = Looked<V>> + use<'a, V, C, D>>>
where
    V: Send + Sync + 'static,
    D: Coding<C>,
    D::Coder: Codes<V>,
{
    let is_used = cache.engine.shared.is_enabled() && !special.flags.is_bypassed();
    Box::pin(async move {
        let (shared, tags) = (&cache.engine.shared, &cache.engine.tags);
        let Special { on_hit, request, .. } = special;
        let key = match key {
            Some(Ok(key)) if is_used => key,
            key => {
                let ended = match key {
                    Some(Err(error)) => {
                        log_error("a call has no key, so it is not cached", Some(error));
                        cache.report_bypass("no-key");
                        Err(error.clone())
                    }
                    Some(Ok(_)) => {
                        cache.report_unused();
                        Ok(())
                    }
                    None => Ok(()),
                };
                return match request.map(|request| *request) {
                    Some(Request::Stored(question) | Request::Store(question, _)) => question.end(ended).await,
                    Some(Request::Anew) | None => Looked::Bypassed,
                };
            }
        };
        let coder = coding.coder(cache);
        let hit = |found: &Found<V>| {
            cache.report_hit(key, found.tier);
            if contributes {
                shared.contribute(&found.terms());
            }
        };
        match request.as_deref() {
            Some(Request::Store(..)) => {
                let nothing = Read::Miss(Precondition::Nothing, None);
                return missed(nothing.into(), request);
            }
            Some(Request::Anew) => {
                let read = shared.tier.read_store(key, coder).await;
                return missed(read.into(), request);
            }
            Some(Request::Stored(_)) => {
                let read = match shared.tier.read_near(key, coder.type_version()) {
                    Some((found, version)) => Read::Fresh(found, version),
                    None => shared.tier.read_store(key, coder).await,
                };
                return match read {
                    Read::Fresh(found, _) => {
                        hit(&found);
                        Looked::Hit(found.value)
                    }
                    read => missed(read.into(), request),
                };
            }
            None => {}
        }
        let result = result.map(|result| ResultType::new(result, coder.type_version()));
        let reading = match on_hit {
            Some(on_hit) => shared.read_watching(key, coder, tags, result, on_hit).await,
            None => shared.read_found_to_load(key, coder, tags, result).await,
        };
        match reading.or_hit() {
            ControlFlow::Break(found) => {
                hit(&found);
                Looked::Hit(found.value)
            }
            ControlFlow::Continue(reading) => missed(reading, None),
        }
    })
}

/// Whether the result of a lookup answers a call.
#[derive(Debug)]
pub enum Answered<R, V> {
    Now(R),
    /// The function must run: as a load, unless the call is not cached.
    NotYet(Option<Missed<V>>),
}

/// Returns the result of a call, if the lookup was a hit.
#[inline]
pub fn hit<H: Handling>(
    _: H,
    looked: Looked<H::Value>,
    key: Option<Result<Key, Error>>,
) -> Answered<H::Output, H::Value> {
    match (looked, key) {
        (Looked::Hit(value), _) => H::join(Ok(Some(value))).map_or(Answered::NotYet(None), Answered::Now),
        (Looked::Missed(Stored(stored)), Some(Ok(key))) => {
            let AfterRead { reading, request } = *stored;
            Answered::NotYet(Some(Missed(Box::new(NotFound {
                key,
                reading,
                request,
                policy: None,
            }))))
        }
        _ => Answered::NotYet(None),
    }
}
