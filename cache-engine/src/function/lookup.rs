//! Reads the cache for a call.

use std::sync::Arc;

use cache_core::{Error, Key};

use super::coder::{Codes, Coding};
use super::return_type::plan::Handling;
use crate::cache::handle::Cache;
use crate::event::Event;
use crate::tier::read::{Glimpse, Read};

/// What a call found.
#[derive(Debug)]
pub struct Looked<V>(pub(super) State<V>);

#[derive(Debug)]
pub(super) enum State<V> {
    Hit(Arc<V>),
    /// Boxed, so that a hit does not carry its weight.
    Missed(Box<(Key, Read<V>)>),
    /// The call is not cached.
    Bypassed,
}

impl<V> Looked<V> {
    /// Returns what a call finds that is not cached.
    #[must_use]
    pub const fn bypassed() -> Self {
        Self(State::Bypassed)
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
    let shared = &cache.engine.shared;
    if !shared.is_enabled() {
        return Looked(State::Bypassed);
    }
    let key = match key {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!(target: "cache", %error, "a call has no key, and is not cached");
            return Looked(State::Bypassed);
        }
    };
    let read = match shared.tier.glimpse(&key, coding.coder(cache)).await {
        Ok(Glimpse::Fresh(value)) => {
            shared.events.emit(&Event::Hit { key: &key });
            return Looked(State::Hit(value));
        }
        Ok(Glimpse::Other(read)) => read,
        Err(_) => Read::Outage,
    };
    Looked(State::Missed(Box::new((key, read))))
}

/// Whether a call can be answered from what it found.
#[derive(Debug)]
pub enum Answered<R, L> {
    Now(R),
    /// The result must be loaded.
    NotYet(L),
}

/// Returns the result, if it was there.
#[inline]
pub fn hit<H: Handling>(_: H, looked: Looked<H::Value>) -> Answered<H::Output, Looked<H::Value>> {
    match looked.0 {
        State::Hit(value) => H::join(Ok(Some(value))).map_or(Answered::NotYet(Looked::bypassed()), Answered::Now),
        _ => Answered::NotYet(looked),
    }
}
