//! The steps of a look-up one by one, for those who cannot load within a closure.

use std::convert::Infallible;
use std::sync::Arc;

use cache_core::{Coder, Key};
use futures_util::FutureExt;

use crate::Cache;
use crate::chain::Chain;
use crate::entry::Found;
use crate::event::Event;
use crate::fill::Fill;
use crate::flight::{Landing, Waited};
use crate::pilot::{Ask, Prepared, Step, Take};
use crate::see::{Glimpse, Seen};

/// What [`Cache::lookup`] found.
#[non_exhaustive]
#[derive(Debug)]
pub enum Lookup<T> {
    /// A value, fresh or shared by a load that another caller led.
    Hit {
        /// The value.
        found: Found<T>,
        /// Another caller's load brought it, while this one waited.
        coalesced: bool,
    },
    /// A value past its freshness, to be answered at once.
    Stale {
        /// The value.
        found: Found<T>,
        /// The right to refresh it, for one caller of all.
        refresh: Option<Refresh<T>>,
    },
    /// No value: the caller is to load it.
    Miss(Fill<T>),
    /// The caller is to go on alone, and to store nothing: the load that it waited for turned out to be for nobody
    /// else, or it was not to wait for one, or the cache is switched off.
    Apart {
        /// The caller waited for a load.
        waited: bool,
    },
}

/// The right to refresh a stale value; dropped, it passes to the next caller.
#[derive(Debug)]
#[must_use = "dropping it gives up the refresh"]
pub struct Refresh<T>(Take<T, Infallible>);

impl<C: Send + Sync + 'static> Cache<C> {
    /// The fresh value of a key, if it is in this process: in the store itself, or in the
    /// [near tier](crate::CacheBuilder::near). It never waits, and is
    /// silent unless it finds something, so that a [`lookup`](Self::lookup) can follow.
    #[inline]
    pub fn find_here<T>(&self, key: &Key) -> Option<Arc<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return None;
        }
        if !self.core.fences.store.is_local() {
            let (found, _) = self.core.fences.find_near(key)?;
            self.core.events.emit(&Event::Hit { key });
            return Some(found.value);
        }
        match self.core.glimpse(key, &*self.coder).now_or_never() {
            Some(Ok(Glimpse::Fresh(value))) => {
                self.core.events.emit(&Event::Hit { key });
                Some(value)
            }
            _ => None,
        }
    }

    /// Looks up a key, for adapters whose loads do not fit into a closure, because they stream, say.
    ///
    /// The caller who gets [`Lookup::Miss`] holds up all others who ask for the key in this process, and by a lease all
    /// in the cluster, until it ends its [`Fill`]. Dropping the future, or the fill, passes that on to one of them.
    pub async fn lookup<T>(&self, key: &Key) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return Lookup::Apart { waited: false };
        }
        match self.core.see_near(key, &*self.coder).await {
            Seen::Fresh(found, _) => {
                self.core.events.emit(&Event::Hit { key });
                Lookup::Hit {
                    found,
                    coalesced: false,
                }
            }
            seen => Box::pin(self.lookup_further(key, seen, Ask::default(), true)).await,
        }
    }

    /// As [`lookup`](Self::lookup), for a caller who takes no value that is there already, however fresh: it is
    /// loaded anew, and stays the stale copy of that load. Callers who come at the same time share one load.
    pub async fn lookup_anew<T>(&self, key: &Key) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.look_up(key, true, true).await
    }

    /// As [`lookup`](Self::lookup), or [`lookup_anew`](Self::lookup_anew), for a caller who waits for no load of others,
    /// here or in another process: it gets [`Lookup::Apart`] where it would have to.
    pub async fn lookup_at_once<T>(&self, key: &Key, anew: bool) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.look_up(key, anew, false).await
    }

    async fn look_up<T>(&self, key: &Key, anew: bool, waits: bool) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return Lookup::Apart { waited: false };
        }
        let seen = self.core.see(key, &*self.coder).await;
        let not = match &seen {
            Seen::Fresh(_, version) | Seen::Usable(_, version) if anew => Some(*version),
            _ => None,
        };
        Box::pin(self.lookup_further(key, seen, Ask { absent: false, not }, waits)).await
    }

    async fn lookup_further<T>(&self, key: &Key, mut seen: Seen<T>, ask: Ask, waits: bool) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let chain = Chain::current();
        let mut coalesced = false;
        let since = self.core.flights.now();
        loop {
            let take = match self.step::<T, Infallible>(key, seen, ask, since, chain.as_deref()) {
                Step::Done(Ok(Some(found))) => return Lookup::Hit { found, coalesced },
                // No load of this kind has either for a result, and a load within itself cannot wait for itself.
                Step::Done(_) | Step::Circle => return Lookup::Apart { waited: coalesced },
                Step::Refresh(found, take) => {
                    return Lookup::Stale {
                        found,
                        refresh: take.map(Refresh),
                    };
                }
                Step::Lead(take) if waits => take,
                Step::Lead(take) => {
                    return match self.prepare_at_once(take).await {
                        Some(mut fill) => {
                            fill.begin();
                            Lookup::Miss(fill)
                        }
                        None => Lookup::Apart { waited: false },
                    };
                }
                Step::Wait(..) if !waits => return Lookup::Apart { waited: false },
                Step::Wait(wait, stale) => {
                    coalesced = true;
                    match wait.wait().await {
                        Waited::Landed(Landing::Shared(outcome)) => {
                            if let Some(Ok(Some(found))) = outcome.downcast_ref::<crate::fill::Outcome<T, Infallible>>()
                            {
                                return Lookup::Hit {
                                    found: found.clone(),
                                    coalesced,
                                };
                            }
                        }
                        Waited::Landed(Landing::LookAgain) => {}
                        Waited::Landed(Landing::Apart) => return Lookup::Apart { waited: true },
                        Waited::Lead(lead) => {
                            drop(wait);
                            let fill = Fill::new(Arc::clone(&self.core), key.clone(), lead, stale);
                            if let Some(lookup) = self
                                .settle(
                                    Take {
                                        fill,
                                        basis: None,
                                        outage: false,
                                    },
                                    ask,
                                    coalesced,
                                )
                                .await
                            {
                                return lookup;
                            }
                        }
                    }
                    seen = self.core.see(key, &*self.coder).await;
                    continue;
                }
            };
            if let Some(lookup) = self.settle(take, ask, coalesced).await {
                return lookup;
            }
            seen = self.core.see(key, &*self.coder).await;
        }
    }

    async fn settle<T>(&self, take: Take<T, Infallible>, ask: Ask, coalesced: bool) -> Option<Lookup<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        match self.prepare(take, ask).await {
            Prepared::Go(mut fill) => {
                fill.begin();
                Some(Lookup::Miss(fill))
            }
            Prepared::Answered(Ok(Some(found))) => Some(Lookup::Hit { found, coalesced }),
            Prepared::Answered(_) => None,
        }
    }

    /// Begins a refresh, unless somebody else in the cluster is at it or was faster.
    pub async fn begin_refresh<T>(&self, refresh: Refresh<T>) -> Option<Fill<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        match self.prepare(refresh.0, Ask::default()).await {
            Prepared::Go(mut fill) => {
                fill.begin();
                Some(fill)
            }
            Prepared::Answered(_) => None,
        }
    }

    /// Runs `task` in the background, as part of what [`shutdown`](Self::shutdown) waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.core.tasks.spawn(tracing::Instrument::in_current_span(task));
    }
}
