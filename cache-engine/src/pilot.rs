//! How a value is obtained: found, waited for, or loaded.

mod waiting;

use std::any::{Any, TypeId};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, FreshnessWindows, Key, Tags, Version};
use futures_util::FutureExt;

pub(crate) use self::waiting::Waiting;
use crate::Cache;
use crate::chain::Chain;
use crate::entry::{Found, Freshness};
use crate::event::{Event, LoadFailure};
use crate::fence::Basis;
use crate::fill::{Fill, Outcome};
use crate::flight::{Asker, Join, Landing, Moment, Waited};
use crate::load::{Load, Loaded};
use crate::load_error::LoadError;
use crate::notices::Listener;
use crate::see::Seen;

/// What a caller takes for an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ask {
    /// "There is no value" is one.
    pub(crate) absent: bool,
    /// A record of this version is none, however fresh.
    pub(crate) not: Option<Version>,
}

impl Ask {
    /// What may be answered instead if the load takes too long: not what is to be loaded anew.
    fn fallback<T>(self, stale: Option<&Found<T>>) -> Option<Found<T>> {
        let fallback = stale.filter(|stale| self.not.is_none() || stale.version != self.not);
        fallback.cloned()
    }
}

/// What is to be done about what was seen.
pub(crate) enum Step<T, E> {
    Done(Outcome<T, E>),
    /// Answer this now; who got the lead refreshes it.
    Refresh(Found<T>, Option<Take<T, E>>),
    Lead(Take<T, E>),
    Wait(Waiting, Option<Found<T>>),
    /// Waiting would never end.
    Circle,
}

/// A lead, and what it starts from, where that is known.
#[derive(Debug)]
pub(crate) struct Take<T, E> {
    pub(crate) fill: Fill<T, E>,
    pub(crate) basis: Option<Basis>,
    /// Nobody has a fence while the store is out of reach.
    pub(crate) outage: bool,
}

/// What became of a lead before its load.
#[expect(clippy::large_enum_variant, reason = "made once a load, and taken apart at once")]
pub(crate) enum Prepared<T, E> {
    /// Load.
    Go(Fill<T, E>),
    /// Somebody else was faster.
    Answered(Outcome<T, E>),
}

/// How a load ended for the one who led it.
pub(crate) enum Flown<T, E> {
    Landed(Outcome<T, E>),
    Panicked(Arc<str>, Box<dyn Any + Send>),
}

impl<T, E> Flown<T, E> {
    pub(crate) fn into_outcome(self) -> Outcome<T, E> {
        match self {
            Self::Landed(outcome) => outcome,
            Self::Panicked(message, _) => Err(LoadError::Panicked(message)),
        }
    }
}

impl<C: Send + Sync + 'static> Cache<C> {
    /// Decides what is to be done about what was seen by one who began to look at `since`, or earlier.
    pub(crate) fn step<T, E>(
        &self,
        key: &Key,
        seen: Seen<T>,
        ask: Ask,
        since: Moment,
        chain: Option<&Chain>,
    ) -> Step<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let events = &self.core.events;
        let (basis, stale, outage) = match seen {
            Seen::Fresh(found, version) if ask.not != Some(version) => {
                events.emit(&Event::Hit { key });
                return Step::Done(Ok(Some(found)));
            }
            Seen::Usable(found, version) if ask.not != Some(version) => {
                events.emit(&Event::Stale { key });
                let result = TypeId::of::<Outcome<T, E>>();
                let lead = if self.core.is_open() {
                    self.core.flights.lead_new(key, result)
                } else {
                    None
                };
                let take = lead.map(|lead| Take {
                    fill: Fill::new(Arc::clone(&self.core), key.clone(), lead, Some(found.clone())),
                    basis: Some(Basis::Record(version)),
                    outage: false,
                });
                return Step::Refresh(found, take);
            }
            Seen::Absent(_) if ask.absent => {
                events.emit(&Event::NegativeHit { key });
                return Step::Done(Ok(None));
            }
            Seen::Failed(error, message, version) if ask.not != Some(version) => {
                events.emit(&Event::NegativeHit { key });
                return Step::Done(Err(remembered(error, message)));
            }
            Seen::Fresh(found, version) | Seen::Usable(found, version) => {
                (Some(Basis::Record(version)), Some(found), false)
            }
            Seen::Absent(version) | Seen::Failed(_, _, version) => (Some(Basis::Record(version)), None, false),
            Seen::Missing(basis, stale) => (Some(basis), stale, false),
            Seen::Leased(..) => (None, None, false),
            Seen::Outage => (None, None, true),
        };
        if chain.is_some_and(|chain| chain.loads(self.core.fences.store.backend(), key)) {
            return Step::Circle;
        }
        let asker = Asker {
            since,
            unaware: outage,
            within: chain.map_or(&[][..], Chain::flights),
            overtaken: match basis {
                Some(Basis::Lease(lease)) => Some(lease),
                _ => None,
            },
        };
        match self.core.flights.join(key, TypeId::of::<Outcome<T, E>>(), asker) {
            Join::Lead(lead) => {
                events.emit(&if outage {
                    Event::Outage { key }
                } else {
                    Event::Miss { key }
                });
                let fill = Fill::new(Arc::clone(&self.core), key.clone(), lead, stale);
                Step::Lead(Take { fill, basis, outage })
            }
            Join::Wait(wait) => {
                events.emit(&Event::Coalesced { key });
                Step::Wait(Waiting::new(Arc::clone(&self.core), key.clone(), wait), stale)
            }
            Join::Circle => Step::Circle,
        }
    }

    /// Puts up the fence of a load, or finds that somebody else in the cluster has made the load unnecessary.
    pub(crate) async fn prepare<T, E>(&self, take: Take<T, E>, ask: Ask) -> Prepared<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Take {
            mut fill,
            mut basis,
            outage,
        } = take;
        if outage || fill.inherit(&self.declared).await {
            return Prepared::Go(fill);
        }
        let mut backoff = Backoff::new();
        let mut listener = None;
        loop {
            if let Some(basis) = basis
                && fill.put_up_fence(basis, &self.declared).await
            {
                return Prepared::Go(fill);
            }
            fill.seal();
            let key = fill.key();
            let heard = listener.replace(self.core.fences.listen(key));
            drop(heard);
            let outcome = match self.core.see(key, &*self.coder).await {
                Seen::Fresh(found, version) | Seen::Usable(found, version) if ask.not != Some(version) => {
                    Ok(Some(found))
                }
                Seen::Absent(_) if ask.absent => Ok(None),
                Seen::Failed(error, message, version) if ask.not != Some(version) => Err(remembered(error, message)),
                Seen::Fresh(found, version) | Seen::Usable(found, version) => {
                    // Somebody else is replacing it.
                    fill.set_stale(Some(found));
                    backoff.wait_or(None, listener.take().flatten()).await;
                    basis = Some(Basis::Record(version));
                    continue;
                }
                Seen::Absent(version) | Seen::Failed(_, _, version) => {
                    fill.set_stale(None);
                    backoff.wait_or(None, listener.take().flatten()).await;
                    basis = Some(Basis::Record(version));
                    continue;
                }
                Seen::Missing(found, stale) => {
                    if basis.replace(found) == Some(found) {
                        backoff.wait_or(None, listener.take().flatten()).await;
                    }
                    fill.set_stale(stale);
                    continue;
                }
                Seen::Leased(_, lease) if !self.policy.coalesce_across_processes => {
                    fill.load_beside(lease, &self.declared).await;
                    return Prepared::Go(fill);
                }
                Seen::Leased(remaining, _) => {
                    fill.set_stale(None);
                    backoff.wait_or(remaining, listener.take().flatten()).await;
                    // Whoever finds the lease gone finds out with the next look what there is instead.
                    basis = None;
                    continue;
                }
                Seen::Outage => return Prepared::Go(fill),
            };
            fill.answer(outcome.clone());
            return Prepared::Answered(outcome);
        }
    }

    /// As [`prepare`](Self::prepare), without waiting for anybody: `None` if somebody else has a fence up.
    pub(crate) async fn prepare_at_once<T, E>(&self, take: Take<T, E>) -> Option<Fill<T, E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Take {
            mut fill,
            basis,
            outage,
        } = take;
        if outage || fill.inherit(&self.declared).await {
            return Some(fill);
        }
        if let Some(basis) = basis
            && fill.put_up_fence(basis, &self.declared).await
        {
            return Some(fill);
        }
        if self.policy.coalesce_across_processes {
            return None;
        }
        match self.core.see::<T, C>(fill.key(), &self.coder).await {
            Seen::Leased(_, lease) => {
                fill.load_beside(lease, &self.declared).await;
                Some(fill)
            }
            _ => None,
        }
    }

    /// Loads, and lands the flight.
    pub(crate) async fn fly<T, E, F, Fut>(
        &self,
        mut fill: Fill<T, E>,
        outer: Option<Arc<Chain>>,
        load: F,
    ) -> Flown<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut,
        Fut: Future<Output = Result<Loaded<T>, E>>,
    {
        fill.begin();
        let backend = self.core.fences.store.backend();
        let chain = Chain::within(outer, backend, [fill.key().clone()], fill.flight().as_slice());
        let stale = fill.stale().map(|stale| Arc::clone(&stale.value));
        let tagger = fill.tagger().clone();
        let told = Load::new(fill.key().clone(), stale, tagger.clone());
        // A loader that panics is not used again, so nothing that it left half-done is seen. It is called within the
        // future, so that a panic of the call itself is caught too.
        // Boxed, since loads are nested in loads, and each level would hold its load several times over.
        let load = chain.scope(tagger.scope(async move { load(told).await }));
        let load = AssertUnwindSafe(Box::pin(load)).catch_unwind();
        match self.limited(fill.renewing(load)).await {
            Ok(Ok(Ok(loaded))) => {
                fill.note_loaded();
                Flown::Landed(Ok(self.keep(fill, loaded).await))
            }
            Ok(Ok(Err(error))) => {
                fill.note_failed(LoadFailure::Error);
                Flown::Landed(self.fail(fill, LoadError::Failed(Arc::new(error))).await)
            }
            Err(limit) => {
                fill.note_failed(LoadFailure::Timeout);
                Flown::Landed(self.fail(fill, LoadError::TimedOut(limit)).await)
            }
            Ok(Err(panic)) => {
                fill.note_failed(LoadFailure::Panic);
                let message = panic_message(&*panic);
                match self.fail(fill, LoadError::Panicked(Arc::clone(&message))).await {
                    Ok(stale) => Flown::Landed(Ok(stale)),
                    Err(_) => Flown::Panicked(message, panic),
                }
            }
        }
    }

    /// Runs `load` for no longer than the policy allows; the error is that limit.
    pub(crate) async fn limited<F: Future>(&self, load: F) -> Result<F::Output, Duration> {
        match self.policy.load_timeout {
            Some(limit) => tokio::time::timeout(limit, load).await.map_err(|_| limit),
            None => Ok(load.await),
        }
    }

    pub(crate) async fn keep<T, E>(&self, fill: Fill<T, E>, loaded: Loaded<T>) -> Option<Found<T>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let policy = loaded.policy(&self.policy);
        let Some(value) = loaded.value else {
            match policy.negative_ttl.filter(|ttl| loaded.store && !ttl.is_zero()) {
                Some(ttl) => {
                    fill.store_absent(policy.negative_windows(ttl)).await;
                }
                None => fill.share_absence().await,
            }
            return None;
        };
        let windows = policy.windows();
        let mut fill = fill;
        if fill.stale().is_some_and(|stale| Arc::ptr_eq(&stale.value, &value)) {
            fill.keep_tags_of_stale();
        }
        let found = Found {
            value,
            created: self.core.fences.now(),
            windows,
            tags: Tags::default(),
            version: None,
        };
        if loaded.store && is_of_use(&windows) {
            fill.store(Arc::clone(&found.value), &*self.coder, windows).await;
        } else {
            fill.share(Ok(Some(found.clone()))).await;
        }
        Some(found)
    }

    pub(crate) async fn fail<T, E>(&self, fill: Fill<T, E>, error: LoadError<E>) -> Outcome<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        if let Some(stale) = fill.stale_if_error().await {
            fill.share_stale(stale.clone()).await;
            return Ok(Some(stale));
        }
        // A failure must not take the place of a value, however old: the next load may need it.
        match self
            .policy
            .error_ttl
            .filter(|ttl| fill.stale().is_none() && !ttl.is_zero())
        {
            Some(ttl) => {
                fill.store_failure(error.clone(), self.policy.negative_windows(ttl))
                    .await;
            }
            None => fill.share(Err(error.clone())).await,
        }
        Err(error)
    }

    /// Obtains a value by `launch`, which gets the lead if it is this caller's, and otherwise loads for this caller
    /// alone. What `launch` started goes on without the caller if `detached`.
    pub(crate) async fn drive<T, E, L, Fut>(
        &self,
        key: &Key,
        mut seen: Seen<T>,
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
        let chain = Chain::current();
        let within = chain.as_deref().map_or(&[][..], Chain::flights);
        let mut launch = Some(launch);
        let since = self.core.flights.now();
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
                            let fill = Fill::new(Arc::clone(&self.core), key.clone(), lead, stale);
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
                    seen = self.core.see(key, &*self.coder).await;
                    continue;
                }
            };
            if let Some(outcome) = self.launch(key, take, fallback, within, detached, &mut launch).await {
                return outcome;
            }
            seen = self.core.see(key, &*self.coder).await;
        }
    }

    async fn launch<T, E, L, Fut>(
        &self,
        key: &Key,
        take: Take<T, E>,
        fallback: Option<Found<T>>,
        within: &[crate::flight::FlightId],
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
        match stale.freshness(self.core.fences.now()) {
            Freshness::StaleWhileRevalidate | Freshness::StaleIfError => {
                self.core.events.emit(&Event::Stale { key });
                Err(stale.clone())
            }
            Freshness::Fresh | Freshness::Gone => Ok(wait.await),
        }
    }
}

fn remembered<E: Send + Sync + 'static>(error: Option<Arc<dyn Any + Send + Sync>>, message: Arc<str>) -> LoadError<E> {
    match error.and_then(|error| error.downcast::<E>().ok()) {
        Some(error) => LoadError::Failed(error),
        None => LoadError::Remembered(message),
    }
}

/// Whether there is any time at which a copy may be used.
fn is_of_use(windows: &FreshnessWindows) -> bool {
    let FreshnessWindows {
        fresh,
        stale_while_revalidate,
        stale_if_error,
        ..
    } = windows;
    fresh.is_none_or(|fresh| !fresh.is_zero()) || !stale_while_revalidate.is_zero() || !stale_if_error.is_zero()
}

/// The message of a panic, as `panic!` was given it.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> Arc<str> {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => Arc::from(*message),
        (_, Some(message)) => Arc::from(message.as_str()),
        _ => Arc::from("a panic without a message"),
    }
}

/// Pauses between looks at a lease that somebody else holds.
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(2);
    const LONGEST: Duration = Duration::from_millis(100);

    pub(crate) fn new() -> Self {
        Self(Self::FIRST)
    }

    /// As [`wait`](Self::wait), and no longer than until `listener` hears of a change.
    pub(crate) async fn wait_or(&mut self, remaining: Option<Duration>, listener: Option<Listener>) {
        match listener {
            Some(listener) => tokio::select! {
                () = listener.changed() => {}
                () = self.wait(remaining) => {}
            },
            None => self.wait(remaining).await,
        }
    }

    /// As [`wait`](Self::wait), and no longer than until all of `listeners` have heard of a change.
    pub(crate) async fn wait_or_all(&mut self, listeners: Option<Vec<Listener>>) {
        let changes = listeners.map(|listeners| async move {
            for listener in listeners {
                listener.changed().await;
            }
        });
        match changes {
            Some(changes) => tokio::select! {
                () = changes => {}
                () = self.wait(None) => {}
            },
            None => self.wait(None).await,
        }
    }

    /// Waits, but not longer than `remaining`.
    pub(crate) async fn wait(&mut self, remaining: Option<Duration>) {
        // Half of the pause is random, so that those who wait do not ask all at once.
        let pause = cache_core::jittered(self.0, 0.5);
        // None at all says nothing: it is there, and only the clocks differ.
        let remaining = remaining.filter(|remaining| !remaining.is_zero());
        let remaining = remaining.map_or(Duration::MAX, |remaining| remaining + Duration::from_millis(1));
        tokio::time::sleep(pause.min(remaining)).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}
