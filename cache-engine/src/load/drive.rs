//! The loop of a call: decide, wait for others, or load, and look again.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use cache_core::{Coder, Key};

use crate::event::Event;
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::{FlightId, Landing, Waited};
use crate::load::stack::LoadStack;
use crate::load::step::{Ask, Step, Take};
use crate::store::record::{Found, Freshness};
use crate::tier::read::Read;

impl<C: Send + Sync + 'static> Engine<C> {
    /// Obtains a value by `launch`, which gets the lead if it is this caller's, and otherwise loads for this caller
    /// alone. What `launch` started goes on without the caller if `detached`.
    pub(crate) async fn drive<T, E, L, Fut>(
        &self,
        key: &Key,
        mut seen: Read<T>,
        ask: Ask,
        detached: bool,
        launch: L,
    ) -> Outcome<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        L: FnOnce(Option<Take<T, E>>) -> Fut,
        Fut: Future<Output = Outcome<T, E>>,
    {
        let chain = LoadStack::current();
        let within = chain.as_deref().map_or(&[][..], LoadStack::flights);
        let mut launch = Some(launch);
        let since = self.shared.flights.now();
        loop {
            let (take, fallback) = match self.step(key, seen, ask, since, chain.as_deref()) {
                Step::Done(outcome) => return outcome,
                Step::Circle => return Err(LoadError::Circular(Box::new(key.clone()))),
                Step::Refresh(found, take) => {
                    if let (Some(take), Some(launch)) = (take, launch.take()) {
                        let _edges = take.fill.lead().map(|lead| lead.waited_for_by(within));
                        let refresh = launch(Some(take));
                        if !detached {
                            // There is nobody else to run it: the caller does, and has the new value for it.
                            if let Ok(Some(found)) = refresh.await {
                                return Ok(Some(found));
                            }
                        }
                    }
                    return Ok(Some(found));
                }
                Step::Lead(take) => {
                    let fallback = ask.fallback(take.fill.stale());
                    (take, fallback)
                }
                Step::Wait(wait, stale) => {
                    let fallback = ask.fallback(stale.as_ref());
                    let waited = match self.patiently(key, fallback.as_ref(), wait.wait()).await {
                        Ok(waited) => waited,
                        Err(stale) => return Ok(Some(stale)),
                    };
                    match waited {
                        Waited::Landed(Landing::Shared(outcome)) => match outcome.downcast_ref::<Outcome<T, E>>() {
                            Some(Ok(None)) if !ask.absent => {}
                            Some(outcome) => return outcome.clone(),
                            // The flight's key names the type, so this cannot be; looking again is right all the same.
                            None => {}
                        },
                        Waited::Landed(Landing::LookAgain) => {}
                        Waited::Landed(Landing::Apart) => {
                            if let Some(launch) = launch.take() {
                                return launch(None).await;
                            }
                        }
                        Waited::Lead(lead) => {
                            drop(wait);
                            let fill = Fill::new(Arc::clone(&self.shared), key.clone(), lead, stale);
                            let take = Take {
                                fill,
                                basis: None,
                                outage: false,
                            };
                            let launch = &mut launch;
                            if let Some(outcome) = self.launch(key, take, fallback, within, detached, launch).await {
                                return outcome;
                            }
                        }
                    }
                    seen = self.shared.tier.see(key, &*self.coder).await;
                    continue;
                }
            };
            if let Some(outcome) = self.launch(key, take, fallback, within, detached, &mut launch).await {
                return outcome;
            }
            seen = self.shared.tier.see(key, &*self.coder).await;
        }
    }

    async fn launch<T, E, L, Fut>(
        &self,
        key: &Key,
        take: Take<T, E>,
        fallback: Option<Found<T>>,
        within: &[FlightId],
        detached: bool,
        launch: &mut Option<L>,
    ) -> Option<Outcome<T, E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        L: FnOnce(Option<Take<T, E>>) -> Fut,
        Fut: Future<Output = Outcome<T, E>>,
    {
        let launch = launch.take()?;
        // The load waits for nobody, but the one who started it now waits for the load.
        let _edges = take.fill.lead().map(|lead| lead.waited_for_by(within));
        if !detached {
            return Some(launch(Some(take)).await);
        }
        match self.patiently(key, fallback.as_ref(), launch(Some(take))).await {
            Ok(outcome) => Some(outcome),
            Err(stale) => Some(Ok(Some(stale))),
        }
    }

    /// Waits for `wait`, but for no longer than the soft timeout if `fallback` may be answered then, which is given back
    /// as the error.
    async fn patiently<T, F: Future>(
        &self,
        key: &Key,
        fallback: Option<&Found<T>>,
        wait: F,
    ) -> Result<F::Output, Found<T>> {
        let (Some(limit), Some(stale)) = (self.policy.soft_timeout, fallback) else {
            return Ok(wait.await);
        };
        let mut wait = pin!(wait);
        if let Ok(waited) = tokio::time::timeout(limit, wait.as_mut()).await {
            return Ok(waited);
        }
        match stale.freshness(self.shared.tier.now()) {
            Freshness::StaleWhileRevalidate | Freshness::StaleIfError => {
                self.shared.events.emit(&Event::Stale { key });
                Err(stale.clone())
            }
            Freshness::Fresh | Freshness::Gone => Ok(wait.await),
        }
    }
}
