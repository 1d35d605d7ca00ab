//! The steps of a look-up one by one, for those who cannot load within a closure.

use std::convert::Infallible;
use std::sync::Arc;

use cache_core::{Coder, Key};
use futures_util::FutureExt;

use crate::cache::handle::Cache;
use crate::event::Event;
use crate::load::acquire::Prepared;
use crate::load::fill::Fill;
use crate::load::flight::{Landing, Waited};
use crate::load::stack::LoadStack;
use crate::load::step::{Ask, Step, Take};
use crate::store::record::Found;
use crate::tier::read::{Glimpse, Read};
use cache_core::Error;

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
        if !self.engine.shared.tier.store.is_local() {
            let (found, _) = self.engine.shared.tier.find_near(key)?;
            self.engine.shared.events.emit(&Event::Hit { key });
            return Some(found.value);
        }
        match self.engine.shared.tier.glimpse(key, &*self.engine.coder).now_or_never() {
            Some(Ok(Glimpse::Fresh(value))) => {
                self.engine.shared.events.emit(&Event::Hit { key });
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
        match self.engine.shared.tier.see_near(key, &*self.engine.coder).await {
            Read::Fresh(found, _) => {
                self.engine.shared.events.emit(&Event::Hit { key });
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
        let seen = self.engine.shared.tier.see(key, &*self.engine.coder).await;
        let not = match &seen {
            Read::Fresh(_, version) | Read::Usable(_, version) if anew => Some(*version),
            _ => None,
        };
        Box::pin(self.lookup_further(key, seen, Ask { absent: false, not }, waits)).await
    }

    async fn lookup_further<T>(&self, key: &Key, mut seen: Read<T>, ask: Ask, waits: bool) -> Lookup<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let chain = LoadStack::current();
        let mut coalesced = false;
        let since = self.engine.shared.flights.now();
        loop {
            let take = match self
                .engine
                .step::<T, Infallible>(key, seen, ask, since, chain.as_deref())
            {
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
                    return match self.engine.prepare_at_once(take).await {
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
                            if let Some(Ok(Some(found))) =
                                outcome.downcast_ref::<crate::load::fill::Outcome<T, Infallible>>()
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
                            let fill = Fill::new(Arc::clone(&self.engine.shared), key.clone(), lead, stale);
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
                    seen = self.engine.shared.tier.see(key, &*self.engine.coder).await;
                    continue;
                }
            };
            if let Some(lookup) = self.settle(take, ask, coalesced).await {
                return lookup;
            }
            seen = self.engine.shared.tier.see(key, &*self.engine.coder).await;
        }
    }

    async fn settle<T>(&self, take: Take<T, Infallible>, ask: Ask, coalesced: bool) -> Option<Lookup<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        match self.engine.prepare(take, ask).await {
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
        match self.engine.prepare(refresh.0, Ask::default()).await {
            Prepared::Go(mut fill) => {
                fill.begin();
                Some(fill)
            }
            Prepared::Answered(_) => None,
        }
    }

    /// Runs `task` in the background, as part of what [`shutdown`](Self::shutdown) waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.engine
            .shared
            .tasks
            .spawn(tracing::Instrument::in_current_span(task));
    }

    /// What is stored under a key, fresh or stale, for adapters that have rules of their own on what a stale value is
    /// good for. Nothing is waited for but the store, nothing is loaded, and nobody is kept from loading.
    ///
    /// A stale value is there for as long as the longest of its windows, and not after an invalidation.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn peek<T>(&self, key: &Key) -> Result<Option<Found<T>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return Ok(None);
        }
        Ok(match self.engine.shared.tier.look(key, &*self.engine.coder).await? {
            Read::Fresh(found, _) => {
                self.engine.shared.events.emit(&Event::Hit { key });
                Some(found)
            }
            // Whether it is of use is for the caller to say.
            Read::Usable(found, _) => Some(found),
            Read::Missing(_, stale) => stale,
            _ => None,
        })
    }
}
