//! Reads the cache for a call.

use std::any::TypeId;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cache_core::{Error, Key};
use pin_project_lite::pin_project;

use super::coder::{Codes, Coding};
use super::return_type::plan::Handling;
use super::return_type::shape::Item;
use crate::cache::handle::Cache;
use crate::load::reading::Reading;
use crate::log::log_error;
use crate::tags::ambient::is_within_load;

/// The result of a lookup for a call.
#[derive(Debug)]
pub enum Looked<V> {
    Hit(Arc<V>),
    Missed(Stored<V>),
    /// The call is not cached.
    Bypassed,
}

/// What was read instead of a fresh value. Boxed, so that a hit does not need the space for it.
#[derive(Debug)]
pub struct Stored<V>(Box<Reading<V>>);

/// A key, and what was read instead of a fresh value.
#[derive(Debug)]
pub struct Missed<V>(pub(super) Box<(Key, Reading<V>)>);

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
    values: Item<V>,
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
        future: read(values, cache, coding, key, result, contributes),
    }
}

/// Reads the cache for a call, up to a fresh value.
///
/// Like all futures here, this one has the types of values and errors as parameters, and not the plan that determines
/// them. The plan's traits require `'static`, which the compiler cannot prove in a future that must be `Send`.
async fn read<V, C, D>(
    _: Item<V>,
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
    let key = match key {
        Some(Ok(key)) if shared.is_used() => key,
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
    let tags = &cache.engine.tags;
    let coder = coding.coder(cache);
    let reading = if contributes && is_within_load() {
        shared.read_within(key, coder, tags, result).await
    } else {
        shared.read_to_load(key, coder, tags, result).await
    };
    match reading {
        ControlFlow::Break((value, tier)) => {
            cache.report_hit(key, tier);
            Looked::Hit(value)
        }
        ControlFlow::Continue(reading) => Looked::Missed(Stored(Box::new(reading))),
    }
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
        (Looked::Missed(Stored(reading)), Some(Ok(key))) => Answered::NotYet(Some(Missed(Box::new((key, *reading))))),
        _ => Answered::NotYet(None),
    }
}
