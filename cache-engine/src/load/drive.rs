//! The loop of a call: it decides about what was read, waits for other loads and reads again, until there is an answer
//! or a load to run.

use std::any::Any;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use cache_core::{Coder, Key};
use tokio::time::Instant;
use tracing::Instrument;

use crate::event::Event;
use crate::load::call::{Accepts, Call, Reporting};
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::{Landed, Outcome};
use crate::load::flight::{Landing, Waited};
use crate::load::preview::Preview;
use crate::load::reading::Reading;
use crate::load::stack::LoadStack;
use crate::load::step::{LoadStart, Step};
use crate::load::waiting::Waiting;
use crate::store::record::{Found, Freshness};
use crate::tier::read::Read;
use crate::trace::load::{RunsFor, waiting as wait_span};

/// What a call does next.
pub(crate) enum Next<T, E> {
    /// Return this.
    Done(Outcome<T, E>),
    /// Return this stale value. If this caller got the lead, it refreshes the value.
    Stale(Found<T>, Option<LoadStart<T, E>>),
    /// Return this fresh value, and refresh it before it expires. Only for a call that can do so.
    Early(Found<T>, LoadStart<T, E>),
    /// Load. The stale value may be returned after the soft timeout.
    Load(LoadStart<T, E>, Option<Found<T>>),
    /// Load for this caller only. It must not wait, or it waited for a load whose value is not shared.
    Uncoalesced,
    /// Use the preview that the load of another caller offers before its end. Only for a call that accepts previews.
    Preview(Arc<dyn Any + Send + Sync>),
    /// Waiting would never end, because the load needs its own key.
    Circular,
}

/// The result of waiting for the flight of another caller.
pub(crate) enum Joined<T, E> {
    Outcome(Outcome<T, E>),
    /// There is nothing to share: read again.
    ReadAgain,
    /// The value is not shared.
    Uncoalesced,
    /// The load offers this preview before its end.
    Preview(Arc<dyn Any + Send + Sync>),
    /// The leader was cancelled, and this caller leads now.
    Lead(LoadStart<T, E>),
}

/// A place among the callers that wait for a load, and the stale value that the call has read.
type Place<T> = (Waiting, Option<Found<T>>);

impl<C: Send + Sync + 'static> Engine<C> {
    /// Creates a call that begins to read now.
    pub(crate) fn call(&self, accepts: Accepts) -> Call {
        Call {
            accepts,
            since: self.shared.flights.now(),
            begun: Instant::now(),
            stack: LoadStack::current(),
            waits: true,
            previews: false,
            refreshes_early: false,
            soft_timeout: true,
            coalesced: false,
            outage: false,
            reporting: Reporting::Everything,
            reported: false,
        }
    }

    /// Decides what `call` does about what it has read. Waits for the loads of other callers, and reads again after them.
    pub(crate) async fn next<T, E>(&self, key: &Key, reading: Reading<T>, call: &mut Call) -> Next<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        match self.decide(key, reading, call) {
            ControlFlow::Break(next) => next,
            // Boxed, to keep the future of a call that leads small.
            ControlFlow::Continue(wait) => Box::pin(self.next_after(key, wait, call)).await,
        }
    }

    /// Decides what `call` does about what it has read. Continues if it is to wait for the load of another caller.
    fn decide<T, E>(&self, key: &Key, reading: Reading<T>, call: &mut Call) -> ControlFlow<Next<T, E>, Place<T>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        call.outage |= matches!(reading.read, Read::Unavailable(_));
        let step = self.step(key, reading, call);
        call.reported = true;
        ControlFlow::Break(match step {
            Step::Done(outcome) => Next::Done(outcome),
            Step::Circular => Next::Circular,
            Step::Stale(found, start) => Next::Stale(found, start),
            Step::Early(found, start) => Next::Early(found, start),
            Step::Load(start) => {
                let fallback = call.accepts.fallback(start.fill.stale());
                Next::Load(start, fallback)
            }
            Step::Wait(..) if !call.waits => Next::Uncoalesced,
            Step::Wait(waiting, stale) => return ControlFlow::Continue((waiting, stale)),
        })
    }

    /// Waits for the load of another caller, and decides again, until there is no load to wait for.
    async fn next_after<T, E>(&self, key: &Key, mut wait: Place<T>, call: &mut Call) -> Next<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        loop {
            let (waiting, stale) = wait;
            let reading = match self.wait_for_flight(key, waiting, stale, call).await {
                ControlFlow::Break(next) => return next,
                ControlFlow::Continue(reading) => reading,
            };
            match self.decide(key, reading, call) {
                ControlFlow::Break(next) => return next,
                ControlFlow::Continue(again) => wait = again,
            }
        }
    }

    /// Waits for the flight of another caller. Breaks with what `call` does next. Continues with a new read, if there is
    /// nothing to share.
    async fn wait_for_flight<T, E>(
        &self,
        key: &Key,
        waiting: Waiting,
        stale: Option<Found<T>>,
        call: &mut Call,
    ) -> ControlFlow<Next<T, E>, Reading<T>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        call.coalesced = true;
        let fallback = call.accepts.fallback(stale.as_ref());
        let span = wait_span(self.shared.events.cache(), key, waiting.load_span().into_iter());
        let joined = self.join_flight(key, waiting, stale, call).instrument(span);
        let joined = if call.soft_timeout {
            match self.patiently(key, fallback.as_ref(), joined).await {
                Ok(joined) => joined,
                Err(stale) => return ControlFlow::Break(Next::Done(Ok(Some(stale)))),
            }
        } else {
            joined.await
        };
        ControlFlow::Break(match joined {
            Joined::Outcome(outcome) => Next::Done(outcome),
            Joined::Uncoalesced => Next::Uncoalesced,
            Joined::Preview(value) => Next::Preview(value),
            Joined::Lead(start) => Next::Load(start, fallback),
            Joined::ReadAgain => {
                return ControlFlow::Continue(self.shared.tier.read_store(key, &*self.coder).await.into());
            }
        })
    }

    /// Waits for the flight of another caller.
    pub(crate) async fn join_flight<T, E>(
        &self,
        key: &Key,
        waiting: Waiting,
        stale: Option<Found<T>>,
        call: &Call,
    ) -> Joined<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let waited = if call.previews {
            match waiting.wait_or_preview().await {
                Waited::Preview { value, is_open } => {
                    if let Some(preview) = value.downcast_ref::<Preview>() {
                        let is_current = match is_open {
                            true => Some(true),
                            false => preview.is_current(&self.shared, key).await,
                        };
                        match is_current {
                            Some(true) => return Joined::Preview(Arc::clone(&preview.value)),
                            Some(false) => {
                                // The value of the load is not for callers that begin to read from now on.
                                waiting.disband();
                                return Joined::ReadAgain;
                            }
                            None => {}
                        }
                    }
                    waiting.wait().await
                }
                waited => waited,
            }
        } else {
            waiting.wait().await
        };
        match waited {
            Waited::Landed(Landing::Shared(landed)) => match landed.downcast_ref::<Landed<T, E>>() {
                Some(Landed { outcome: Ok(None), .. }) if !call.accepts.negative => Joined::ReadAgain,
                Some(Landed { outcome, terms }) => {
                    self.contribute_terms(|| terms.clone());
                    Joined::Outcome(outcome.clone())
                }
                // The type is part of the flight's key, so this cannot happen. Reading again is correct in any case.
                None => Joined::ReadAgain,
            },
            // A preview ends only a wait that accepts previews.
            Waited::Landed(Landing::ReadAgain) | Waited::Preview { .. } => Joined::ReadAgain,
            Waited::Landed(Landing::Uncoalesced) => Joined::Uncoalesced,
            Waited::Lead(lead) => {
                drop(waiting);
                let fill = self.fill(key, lead, stale, call);
                Joined::Lead(LoadStart {
                    fill,
                    precondition: None,
                    outage: false,
                    nested: call.stack.is_some(),
                    beside_from: self.beside_from(call),
                })
            }
        }
    }

    /// Obtains a value by `launch`. If this caller leads, `launch` gets the lead; otherwise it loads for this caller
    /// only. If `detached`, what `launch` started continues when the caller is cancelled.
    pub(crate) async fn drive<T, E, L, Fut>(
        &self,
        key: &Key,
        reading: Reading<T>,
        accepts: Accepts,
        detached: bool,
        launch: L,
    ) -> Outcome<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        L: FnOnce(Option<LoadStart<T, E>>) -> Fut,
        Fut: Future<Output = Outcome<T, E>>,
    {
        let mut call = self.call(accepts);
        call.refreshes_early = detached;
        let next = match self.decide(key, reading, &mut call) {
            ControlFlow::Break(next) => next,
            // Boxed, to keep the future of a call that leads small.
            ControlFlow::Continue(wait) => Box::pin(self.next_after(key, wait, &mut call)).await,
        };
        let within = call.stack.as_deref().map_or(&[][..], LoadStack::flights);
        match next {
            Next::Done(outcome) => outcome,
            Next::Circular => Err(LoadError::Circular(Box::new(key.clone()))),
            Next::Uncoalesced | Next::Preview(_) => launch(None).await,
            Next::Stale(found, None) => {
                self.contribute(&found);
                Ok(Some(found))
            }
            Next::Early(found, mut start) => {
                start.fill.begin_context(self.shared.refreshes_for());
                let waits_for = if self.shared.foreground { within } else { &[] };
                let _edges = start.fill.lead().map(|lead| lead.waited_for_by(waits_for));
                let refresh = launch(Some(start));
                // Otherwise it continues in the background.
                if self.shared.foreground
                    && let Ok(Some(new)) = refresh.await
                {
                    return Ok(Some(new));
                }
                Ok(Some(found))
            }
            Next::Stale(found, Some(mut start)) => {
                let whom = match detached {
                    true => self.shared.refreshes_for(),
                    false => RunsFor::Caller,
                };
                start.fill.begin_context(whom);
                let _edges = start.fill.lead().map(|lead| lead.waited_for_by(within));
                let refresh = launch(Some(start));
                if !detached {
                    // There is no task to run it in: the caller runs it, and gets the new value in return.
                    if let Ok(Some(found)) = refresh.await {
                        return Ok(Some(found));
                    }
                } else if self.shared.foreground {
                    let refreshed = match self.policy.soft_timeout {
                        Some(limit) => tokio::time::timeout(limit, refresh).await.ok(),
                        None => Some(refresh.await),
                    };
                    if let Some(Ok(Some(found))) = refreshed {
                        return Ok(Some(found));
                    }
                }
                self.contribute(&found);
                Ok(Some(found))
            }
            Next::Load(mut start, fallback) => {
                start.fill.begin_context(RunsFor::Caller);
                // The load waits for no other load, but the loads that this call is made in now wait for it.
                let _edges = start.fill.lead().map(|lead| lead.waited_for_by(within));
                let load = launch(Some(start));
                if !detached {
                    return load.await;
                }
                match self.patiently(key, fallback.as_ref(), load).await {
                    Ok(outcome) => outcome,
                    Err(stale) => Ok(Some(stale)),
                }
            }
        }
    }

    /// Waits for `wait`. If `fallback` may be returned instead, waits at most for the soft timeout, and then returns
    /// `fallback` as the error.
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
                self.shared.events.emit(&Event::StaleIfError { key });
                self.contribute(stale);
                Err(stale.clone())
            }
            Freshness::Fresh | Freshness::Gone => Ok(wait.await),
        }
    }
}
