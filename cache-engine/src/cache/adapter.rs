//! The interface for authors of adapters: the individual steps of a lookup.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Error, FunctionCall, Key, KeyName, Timestamp};
use futures_util::FutureExt;

use crate::cache::handle::Cache;
use crate::event::Event;
use crate::load::acquire::Acquired;
use crate::load::call::{Accepts, Reporting};
use crate::load::drive::Next;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::ResultType;
use crate::load::on_hit::{Due, OnHit};
use crate::load::reading::Reading;
use crate::load::reservation::Reservation;
use crate::load::step::LoadStart;
use crate::log::log_error;
use crate::stats::recent::{Recent, RecentEvents};
use crate::stats::snapshot::CacheTier;
use crate::store::record::Found;
use crate::tags::scope::Tagger;
use crate::tier::read::Read;
use crate::trace::load::{LoadSpan, RunsFor};
use crate::trace::task::Awaited;

/// What [`Adapter::lookup`] found.
#[non_exhaustive]
pub enum Lookup<T> {
    /// A value, fresh or shared by another caller's load.
    Hit {
        /// The value.
        found: Found<T>,
        /// Whether another caller's load brought the value, while this caller waited for it.
        coalesced: bool,
        /// Whether the store did not answer this caller. Then another caller's load brought the value.
        outage: bool,
        /// The right to refresh the value before it expires, if the policy has this caller do so; see
        /// [`Policy::early_refresh_after`](crate::Policy::early_refresh_after). Only one of all callers gets it.
        refresh: Option<Refresh<T>>,
    },
    /// A stale value, to be returned at once.
    Stale {
        /// The value.
        found: Found<T>,
        /// The right to refresh the value, which only one of all callers gets.
        refresh: Option<Refresh<T>>,
    },
    /// No value. The caller has to load it.
    Miss(Fill<T>),
    /// What the load of another caller offers before it ends, by
    /// [`Fill::renewing_with_preview`](crate::Fill::renewing_with_preview). Only for callers that
    /// [accept it](Adapter::accept_previews).
    Preview {
        /// What was offered.
        value: Arc<dyn Any + Send + Sync>,
        /// Whether the store did not answer this caller.
        outage: bool,
    },
    /// The caller has to load for itself, and must not store the value. It waited for a load whose value is not shared,
    /// or it does not wait, or the cache is switched off.
    Uncoalesced {
        /// Whether the caller waited for a load.
        waited: bool,
        /// Whether the store did not answer this caller.
        outage: bool,
    },
}

impl<T: fmt::Debug> fmt::Debug for Lookup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit {
                found,
                coalesced,
                outage,
                refresh,
            } => {
                let mut hit = f.debug_struct("Hit");
                hit.field("found", found).field("coalesced", coalesced);
                hit.field("outage", outage).field("refresh", refresh).finish()
            }
            Self::Stale { found, refresh } => {
                let mut stale = f.debug_struct("Stale");
                stale.field("found", found).field("refresh", refresh).finish()
            }
            Self::Miss(fill) => f.debug_tuple("Miss").field(fill).finish(),
            Self::Preview { outage, .. } => f
                .debug_struct("Preview")
                .field("outage", outage)
                .finish_non_exhaustive(),
            Self::Uncoalesced { waited, outage } => {
                let mut uncoalesced = f.debug_struct("Uncoalesced");
                uncoalesced.field("waited", waited).field("outage", outage).finish()
            }
        }
    }
}

/// What an adapter reports of a request; see [`Adapter::report`] and the [`Event`]s of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdapterEvent {
    /// A fresh value was found in this tier.
    Hit(CacheTier),
    /// A stale value answered the request at once.
    Stale,
    /// Nothing usable was found.
    Miss,
    /// The store did not answer.
    Outage,
    /// The miss, or outage, was answered by the load of another caller.
    Coalesced,
    /// The miss, or outage, was answered with a stale value, because the load failed.
    StaleIfError,
    /// The value was not stored, for this reason: one of a few words.
    Refused(&'static str),
    /// The source confirmed the stale value.
    Revalidated,
    /// The client has the value already, and was told so.
    NotModified,
}

/// The right to refresh a value, which is stale or about to expire. If it is dropped, it passes to the next caller.
#[derive(Debug)]
#[must_use = "dropping it passes the refresh to the next caller"]
pub struct Refresh<T>(LoadStart<T, Infallible>);

/// A view of a cache for authors of adapters, whose loads do not fit into a closure; see [`Cache::adapter`].
///
/// An HTTP layer is such an adapter: it streams the response that it stores.
#[derive(Debug)]
pub struct Adapter<'a, C> {
    cache: &'a Cache<C>,
    previews: bool,
    reporting: Reporting,
    /// Which values are refreshed before they expire.
    early: fn(&dyn Any) -> bool,
}

impl<C> Clone for Adapter<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Adapter<'_, C> {}

impl<C> Cache<C> {
    /// Returns a view of this cache for authors of adapters, with the individual steps of a lookup.
    #[must_use]
    pub fn adapter(&self) -> Adapter<'_, C> {
        Adapter {
            cache: self,
            previews: false,
            reporting: Reporting::Everything,
            early: |_| true,
        }
    }
}

impl<'a, C> Adapter<'a, C> {
    /// Sets whether lookups accept what a load offers before it ends, instead of waiting for its end. Default: `false`.
    pub fn accept_previews(self, accept: bool) -> Self {
        Self {
            previews: accept,
            ..self
        }
    }

    /// Sets which values are refreshed before they expire, if the [policy](crate::Policy::early_refresh_after) says so. Default:
    /// all. For adapters that also store what is not loaded, such as an index.
    pub fn refresh_early_if(self, which: fn(&dyn Any) -> bool) -> Self {
        Self { early: which, ..self }
    }

    /// Sets what lookups, and the loads that follow, report as events. Default: [`Reporting::Everything`].
    pub fn reporting(self, reporting: Reporting) -> Self {
        Self { reporting, ..self }
    }

    /// Reports what happened to a request for `key`. For adapters with a [reporting](Self::reporting) of their own: each
    /// request is to be reported with one of [`AdapterEvent::Hit`], [`AdapterEvent::Stale`], [`AdapterEvent::Miss`] and
    /// [`AdapterEvent::Outage`], or by [`report_bypass`](Self::report_bypass).
    pub fn report(self, key: &Key, event: AdapterEvent) {
        let event = match event {
            AdapterEvent::Hit(tier) => return self.cache.report_hit(key, tier),
            AdapterEvent::Stale => Event::Stale { key },
            AdapterEvent::Miss => Event::Miss { key },
            AdapterEvent::Outage => Event::Outage { key },
            AdapterEvent::Coalesced => Event::Coalesced { key },
            AdapterEvent::StaleIfError => Event::StaleIfError { key },
            AdapterEvent::Refused(reason) => Event::Refused { key, reason },
            AdapterEvent::Revalidated => Event::Revalidated { key },
            AdapterEvent::NotModified => Event::NotModified { key },
        };
        self.cache.engine.shared.events.emit(&event);
    }

    /// Reports a request in which the cache took no part, in the namespace of the handle. `reason` is one of a few
    /// words.
    pub fn report_bypass(self, reason: &'static str) {
        self.cache.report_bypass(reason);
    }

    /// Returns what was invalidated and refused last, with names. For pages that show operators what a cache does.
    ///
    /// Recording begins with the first call, which returns nothing, and then lasts as long as the cache. Until then it
    /// costs nothing; hits are never affected. At most 50 invalidations and 50 refusals are remembered.
    #[must_use]
    pub fn recent_events(self) -> RecentEvents {
        let stats = self.cache.engine.shared.events.stats();
        stats.recent_events.get_or_init(Recent::default).events()
    }

    /// Returns the key of a name in a namespace of the cache, which is not counted as used by that.
    pub fn key_in(self, namespace: &str, name: impl Into<KeyName>) -> Key {
        self.cache.engine.shared.prefix.namespace(namespace).key(name)
    }

    /// Returns whether callers wait for what the cache would otherwise do in the background; see
    /// [`CacheBuilder::foreground`](crate::CacheBuilder::foreground). An adapter runs its work in a
    /// [`Background::scope`](crate::Background::scope) then, and waits for it.
    #[must_use]
    pub fn is_foreground(self) -> bool {
        self.cache.engine.shared.foreground
    }

    /// Returns the tier in which [`read_local`](Self::read_local) finds values.
    #[must_use]
    pub fn local_tier(self) -> CacheTier {
        if self.cache.engine.shared.tier.store.is_local() {
            CacheTier::Store
        } else {
            CacheTier::Near
        }
    }

    /// Returns a handle whose loads may get tags that are known only after the load, by
    /// [`Fill::add_late_tags`](crate::Fill::add_late_tags). Each load then reads one more record when it begins: the
    /// sequence, by which [`Fill::add_late_tags`](crate::Fill::add_late_tags) determines what was invalidated since.
    #[must_use]
    pub fn with_late_tags(self, late: bool) -> Cache<C> {
        let mut cache = self.cache.clone();
        cache.engine.tags.late = late;
        cache
    }

    /// Returns the name of a function's call, by the cache's [key builder](crate::CacheBuilder::key_builder).
    ///
    /// # Errors
    /// The builder has no name for the call.
    pub fn call_name(self, call: &FunctionCall<'_>) -> Result<KeyName, Error> {
        self.cache.engine.shared.call_keys.build(call)
    }

    /// Returns the coder of the handle.
    #[must_use]
    pub fn coder(self) -> &'a C {
        &self.cache.engine.coder
    }

    /// Returns the current time by the cache's clock.
    #[must_use]
    pub fn now(self) -> Timestamp {
        self.cache.engine.shared.tier.now()
    }

    /// Logs `message` about `error` at level error with the target `cache`, at most once a second for each message.
    pub fn log_error(self, message: &'static str, error: Option<&Error>) {
        log_error(message, error);
    }

    /// Runs `task` in the background, in no span. [`Cache::shutdown`] waits for it.
    ///
    /// A task that holds the span of a request keeps that from ending. For loads, use [`spawn_load`](Self::spawn_load), and
    /// for refreshes [`spawn_refresh`](Self::spawn_refresh).
    pub fn spawn(self, task: impl Future<Output = ()> + Send + 'static) {
        self.cache.engine.shared.tasks.spawn(task);
    }

    /// Runs `load`, the load with this [span](Fill::span), in a task of its own, for a caller that waits for it. The caller
    /// waits as long as it has what is returned. If it goes on before the load has ended, the load continues, and the
    /// span of the caller ends. [`Cache::shutdown`] waits for the load.
    pub fn spawn_load(self, span: LoadSpan, load: impl Future<Output = ()> + Send + 'static) -> Awaited {
        self.cache.engine.shared.spawn_awaited(span, load)
    }
}

impl<C: Send + Sync + 'static> Adapter<'_, C> {
    /// Reports that a lookup found a fresh value.
    #[inline]
    fn found(self, key: &Key, tier: CacheTier) {
        if self.reporting == Reporting::Everything {
            self.cache.report_hit(key, tier);
        }
    }

    /// Stores a value like [`Cache::set_shared`], and reports only failures. For a part of what is reported elsewhere.
    /// `load_time` is how long its load [took](Fill::took); see
    /// [`Policy::early_refresh_beta`](crate::Policy::early_refresh_beta).
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub async fn set_unreported<T>(self, key: &Key, value: Arc<T>, load_time: Option<Duration>) -> Result<(), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.cache.is_enabled() {
            return Ok(());
        }
        self.cache.put(key, Some(value), load_time).await
    }

    /// Reads the fresh value of a key, if it is in this process: in the store itself, or in the
    /// [near tier](crate::CacheBuilder::near). Never waits. Emits no event unless there is a hit, so that a
    /// [`lookup`](Self::lookup) can follow. Returns `None` in a load, to which the value has to contribute.
    #[inline]
    pub fn read_local<T>(self, key: &Key) -> Option<Arc<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let engine = &self.cache.engine;
        if !engine.shared.is_used() || engine.contributes() {
            return None;
        }
        if let Some(on_hit) = engine.on_hit
            && on_hit.may_refresh()
        {
            return self.read_local_watching(key, on_hit);
        }
        let tier = &engine.shared.tier;
        let (value, tier) = match tier.read_now(key, engine.coder.type_version()) {
            ControlFlow::Break(fresh) => fresh,
            // Once its tags are read, the entry may turn out to be fresh.
            ControlFlow::Continue(read) if tier.store.is_local() => {
                let read = tier.read_further(read, key, &*engine.coder).now_or_never()?;
                match read.into_fresh() {
                    ControlFlow::Break(fresh) => fresh,
                    ControlFlow::Continue(_) => return None,
                }
            }
            ControlFlow::Continue(_) => return None,
        };
        self.found(key, tier);
        Some(value)
    }

    /// As [`read_local`](Self::read_local), for a policy that refreshes values before they expire. If that is due, returns
    /// `None`, and marks the entry for the lookup that follows.
    #[inline(never)]
    fn read_local_watching<T>(self, key: &Key, on_hit: OnHit) -> Option<Arc<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let engine = &self.cache.engine;
        let (shared, coder) = (&engine.shared, &*engine.coder);
        let read = match shared.tier.read_near(key, coder.type_version()) {
            Some((found, version)) => Read::Fresh(found, version),
            None if shared.tier.store.is_local() => shared.tier.read_store(key, coder).now_or_never()?,
            None => return None,
        };
        let Read::Fresh(found, _) = read else { return None };
        if (self.early)(&*found.value) && on_hit.refreshes_early(&found, shared.tier.now(), &shared.random) {
            shared.due.mark(key, &found);
            return None;
        }
        self.found(key, found.tier);
        Some(found.value)
    }

    /// Returns whether the current task runs in a load that entries of the handle
    /// [contribute](crate::Policy::contributes) to.
    #[must_use]
    pub fn contributes(self) -> bool {
        self.cache.engine.contributes()
    }

    /// Joins a value that the caller is about to load without the cache, with the tags of the handle, to the load that
    /// the current task runs in, if any. Where it returns [`Lookup::Uncoalesced`], [`lookup`](Self::lookup) has done so.
    pub async fn contribute_uncoalesced(self) {
        self.cache.engine.contribute_uncoalesced().await;
    }

    /// Joins a value that was [read](Self::read) to the load that the current task runs in, if any. The methods that look
    /// up do so themselves.
    pub fn contribute<T>(self, found: &Found<T>) {
        self.cache.engine.contribute(found);
    }

    /// Returns a new tagger of this cache, for work that is not a load yet, but may become part of one.
    #[must_use]
    pub fn tagger(self) -> Tagger {
        Tagger::new(&self.cache.engine.shared.tier.tags)
    }

    /// Reads what is stored under a key, fresh or stale. For adapters that decide themselves what a stale value may be
    /// used for. Waits only for the store, loads nothing, and prevents no other caller from loading.
    ///
    /// A stale value is available until the longest of its windows ends, and not after an invalidation.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn read<T>(self, key: &Key) -> Result<Option<Found<T>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let engine = &self.cache.engine;
        if !engine.shared.is_used() {
            return Ok(None);
        }
        match engine.shared.tier.read_store(key, &*engine.coder).await {
            Read::Fresh(found, _) => {
                self.found(key, found.tier);
                Ok(Some(found))
            }
            Read::Stale(found, _) => Ok(Some(found)),
            Read::Miss(_, stale) => Ok(stale),
            Read::Unavailable(error) => Err(error),
            _ => Ok(None),
        }
    }

    /// Looks up a key.
    ///
    /// If a caller gets [`Lookup::Miss`], all other callers of the key wait until it ends its [`Fill`]: those in this
    /// process, and by a lease those in the whole cluster. Dropping the future, or the fill, passes the load on to one
    /// of them.
    pub async fn lookup<T>(self, key: &Key) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let engine = &self.cache.engine;
        if !engine.shared.is_used() {
            engine.contribute_uncoalesced().await;
            return Lookup::Uncoalesced {
                waited: false,
                outage: false,
            };
        }
        let result = ResultType::of::<Outcome<T, Infallible>>(engine.coder.type_version());
        let reading = engine
            .shared
            .read_found_to_load(key, &*engine.coder, &engine.tags, Some(result))
            .await;
        match reading.read {
            Read::Fresh(found, version) => {
                if self.refreshes_early(key, &found) {
                    let reading = Reading {
                        read: Read::Fresh(found, version),
                        due: Due::EarlyRefresh,
                        ahead: None,
                    };
                    return Box::pin(self.lookup_after(key, reading, Accepts::default(), true)).await;
                }
                self.found(key, found.tier);
                engine.contribute(&found);
                Lookup::Hit {
                    found,
                    coalesced: false,
                    outage: false,
                    refresh: None,
                }
            }
            read => {
                let reading = Reading { read, ..reading };
                Box::pin(self.lookup_after(key, reading, Accepts::default(), true)).await
            }
        }
    }

    /// Returns whether a lookup that found a fresh value refreshes it before it expires.
    fn refreshes_early<T: Send + Sync + 'static>(self, key: &Key, found: &Found<T>) -> bool {
        let engine = &self.cache.engine;
        let shared = &engine.shared;
        engine
            .on_hit
            .filter(|_| (self.early)(&*found.value))
            .is_some_and(|on_hit| {
                shared.due.take(key, found) || on_hit.refreshes_early(found, shared.tier.now(), &shared.random)
            })
    }

    /// Like [`lookup`](Self::lookup), for a caller that accepts no existing value, even if it is fresh. The value is
    /// loaded again, and the existing one remains the stale copy of that load. Callers that come at the same time share
    /// one load.
    pub async fn lookup_anew<T>(self, key: &Key) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.lookup_in_store(key, true, true).await
    }

    /// Like [`lookup`](Self::lookup), or [`lookup_anew`](Self::lookup_anew), for a caller that does not wait for loads
    /// of other callers, in this process or another. Where it would have to wait, it gets [`Lookup::Uncoalesced`].
    pub async fn lookup_uncoalesced<T>(self, key: &Key, anew: bool) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.lookup_in_store(key, anew, false).await
    }

    async fn lookup_in_store<T>(self, key: &Key, anew: bool, waits: bool) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let engine = &self.cache.engine;
        if !engine.shared.is_used() {
            engine.contribute_uncoalesced().await;
            return Lookup::Uncoalesced {
                waited: false,
                outage: false,
            };
        }
        let read = engine.shared.tier.read_store(key, &*engine.coder).await;
        let except = match &read {
            Read::Fresh(_, version) | Read::Stale(_, version) if anew => Some(*version),
            _ => None,
        };
        let accepts = Accepts {
            negative: false,
            except,
            needs_error: false,
        };
        Box::pin(self.lookup_after(key, read.into(), accepts, waits)).await
    }

    async fn lookup_after<T>(self, key: &Key, mut reading: Reading<T>, accepts: Accepts, waits: bool) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let engine = &self.cache.engine;
        let mut call = engine.call(accepts);
        call.waits = waits;
        // What a preview will depend on is not known yet.
        call.previews = self.previews && !engine.contributes();
        call.refreshes_early = true;
        call.soft_timeout = false;
        call.reporting = self.reporting;
        loop {
            let mut start = match engine.next::<T, Infallible>(key, reading, &mut call).await {
                Next::Done(Ok(Some(found))) => {
                    return Lookup::Hit {
                        found,
                        coalesced: call.coalesced,
                        outage: call.outage,
                        refresh: None,
                    };
                }
                Next::Early(found, mut start) => {
                    start.fill.begin_context(engine.shared.refreshes_for());
                    return Lookup::Hit {
                        found,
                        coalesced: call.coalesced,
                        outage: call.outage,
                        refresh: Some(Refresh(start)),
                    };
                }
                // The load of an adapter never ends with an error or without a value.
                Next::Done(_) | Next::Circular | Next::Uncoalesced => {
                    engine.contribute_uncoalesced().await;
                    return Lookup::Uncoalesced {
                        waited: call.coalesced,
                        outage: call.outage,
                    };
                }
                Next::Preview(value) => {
                    return Lookup::Preview {
                        value,
                        outage: call.outage,
                    };
                }
                Next::Stale(found, start) => {
                    engine.contribute(&found);
                    let refresh = start.map(|mut start| {
                        start.fill.begin_context(engine.shared.refreshes_for());
                        Refresh(start)
                    });
                    return Lookup::Stale { found, refresh };
                }
                Next::Load(start, _) => start,
            };
            start.fill.begin_context(RunsFor::Caller);
            let span = start.fill.span();
            if !waits {
                return match span.scope(engine.try_acquire(start)).await {
                    Some(mut fill) => {
                        fill.begin();
                        Lookup::Miss(fill)
                    }
                    None => {
                        engine.contribute_uncoalesced().await;
                        Lookup::Uncoalesced {
                            waited: false,
                            outage: call.outage,
                        }
                    }
                };
            }
            match span.scope(engine.acquire(start, accepts)).await {
                Acquired::Load(mut fill) => {
                    fill.begin();
                    return Lookup::Miss(fill);
                }
                Acquired::Answered(Ok(Some(found))) => {
                    return Lookup::Hit {
                        found,
                        coalesced: call.coalesced,
                        outage: call.outage,
                        refresh: None,
                    };
                }
                Acquired::Answered(_) => {}
            }
            reading = engine.shared.tier.read_store(key, &*engine.coder).await.into();
        }
    }

    /// Reserves a key for a value that other work may bring, such as a response to a POST that also answers a later GET.
    /// Nobody waits meanwhile. Returns `None` if another caller loads the value, if the store does not answer, or if the
    /// cache is switched off.
    ///
    /// Where nothing is stored, a small record holds the place, for at most
    /// [`max_lease`](crate::CacheBuilder::max_lease).
    pub async fn reserve<T>(self, key: &Key) -> Option<Reservation<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let engine = &self.cache.engine;
        if !engine.shared.is_used() {
            return None;
        }
        engine.reserve(key).await
    }

    /// Runs a refresh in the background: `load` ends the fill. It is not called if another process is refreshing the value,
    /// or has already refreshed it.
    ///
    /// The refresh has a context of its own. Its span links to the current one, which may end before, as the request may
    /// that started it. It is cancelled after [`max_lease`](crate::CacheBuilder::max_lease), and 5 s after the beginning of a
    /// [shutdown](Cache::shutdown).
    pub fn spawn_refresh<T, F, Fut>(self, refresh: Refresh<T>, load: F)
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Fill<T>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let engine = self.cache.engine.clone();
        let shared = Arc::clone(&engine.shared);
        let Refresh(mut start) = refresh;
        let deadline = shared.deadline(None);
        start.fill.set_deadline(deadline);
        let span = start.fill.span().into_span();
        shared.spawn_in_background(span, deadline, async move {
            if let Acquired::Load(mut fill) = Box::pin(engine.acquire(start, Accepts::default())).await {
                fill.begin();
                load(fill).await;
            }
        });
    }
}
