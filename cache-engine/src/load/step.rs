//! Decides what to do about the result of a read.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Key};
use tokio::time::Instant;

use crate::event::Event;
use crate::load::call::Call;
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::{Caller, Join, Lead, ResultType};
use crate::load::on_hit::Due;
use crate::load::reading::Reading;
use crate::load::stack::LoadStack;
use crate::load::waiting::Waiting;
use crate::store::record::Found;
use crate::tier::precondition::Precondition;
use crate::tier::read::Read;

/// What to do about the result of a read.
pub(crate) enum Step<T, E> {
    Done(Outcome<T, E>),
    /// Return this stale value now. If this caller got the lead, it refreshes the value.
    Stale(Found<T>, Option<LoadStart<T, E>>),
    /// Return this fresh value now, and refresh it before it expires.
    Early(Found<T>, LoadStart<T, E>),
    Load(LoadStart<T, E>),
    Wait(Waiting, Option<Found<T>>),
    /// Waiting would never end, because the load needs its own key.
    Circular,
}

/// A lead, and what its load starts from, if that is known.
#[derive(Debug)]
pub(crate) struct LoadStart<T, E> {
    pub(crate) fill: Fill<T, E>,
    pub(crate) precondition: Option<Precondition>,
    /// Whether the store did not answer. Then there is no fence.
    pub(crate) outage: bool,
    /// Whether the call is made within another load, which may hold a lease.
    pub(crate) nested: bool,
    /// From this time on, a load that would make another load wait for a lease runs beside that lease.
    pub(crate) beside_from: Instant,
}

/// The limit for longer lease times.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl<C: Send + Sync + 'static> Engine<C> {
    /// Creates the fill of a load that `call` leads.
    pub(crate) fn fill<T, E>(&self, key: &Key, lead: Lead, stale: Option<Found<T>>, call: &Call) -> Fill<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let fill = Fill::new(Arc::clone(&self.shared), key.clone(), lead, stale);
        self.as_called(fill, call)
    }

    fn as_called<T, E>(&self, fill: Fill<T, E>, call: &Call) -> Fill<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let early = self.on_hit.is_some().then_some(self.policy);
        fill.reporting(call.reporting).storing(self.coder.type_version(), early)
    }

    /// Returns from when on a load of `call` that would make another load wait for a lease runs beside that lease.
    pub(super) fn beside_from(&self, call: &Call) -> Instant {
        // A lease time may be practically infinite, and would overflow the clock.
        call.begun + self.shared.leases.time().min(LONGEST_WAIT)
    }

    /// Decides what `call` does about `read`.
    pub(crate) fn step<T, E>(&self, key: &Key, reading: Reading<T>, call: &Call) -> Step<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let tell = |event| {
            if call.reports_outcome() {
                self.shared.events.emit(&event);
            }
        };
        let stack = call.stack.as_deref();
        let nested = stack.is_some();
        let beside_from = self.beside_from(call);
        let Reading { read, ahead, due } = reading;
        let result = ResultType::of::<Outcome<T, E>>(self.coder.type_version());
        let refresh = |found: &Found<T>, version| {
            let lead = match self.shared.is_open() {
                true => self.shared.flights.lead_new(key, result),
                false => None,
            };
            lead.map(|lead| LoadStart {
                fill: self.fill(key, lead, Some(found.clone()), call).refreshing(),
                precondition: Some(Precondition::Record(version)),
                outage: false,
                nested,
                beside_from,
            })
        };
        let (precondition, stale, outage) = match read {
            Read::Fresh(found, version) if call.accepts.except != Some(version) => {
                tell(Event::Hit { key, tier: found.tier });
                self.contribute(&found);
                let is_early = due == Due::EarlyRefresh && call.refreshes_early;
                return match is_early.then(|| refresh(&found, version)).flatten() {
                    Some(start) => Step::Early(found, start),
                    None => Step::Done(Ok(Some(found))),
                };
            }
            Read::Stale(found, version) if call.accepts.except != Some(version) => {
                tell(Event::Stale { key });
                let start = refresh(&found, version);
                return Step::Stale(found, start);
            }
            Read::NegativeHit(version, terms) if call.accepts.absence(version) => {
                tell(Event::NegativeHit { key });
                self.contribute_terms(|| *terms);
                return Step::Done(Ok(None));
            }
            Read::FailedLoad(error, message, version, terms) if call.accepts.failure::<E>(error.as_ref(), version) => {
                tell(Event::NegativeHit { key });
                self.contribute_terms(|| *terms);
                return Step::Done(Err(remembered(error, message)));
            }
            Read::Fresh(found, version) | Read::Stale(found, version) => {
                (Some(Precondition::Record(version)), Some(found), false)
            }
            Read::NegativeHit(version, _) | Read::FailedLoad(_, _, version, _) => {
                (Some(Precondition::Record(version)), None, false)
            }
            Read::Miss(precondition, stale) => (Some(precondition), stale, false),
            Read::Leased(..) => (None, None, false),
            Read::Unavailable(_) => (None, None, true),
        };
        if stack.is_some_and(|stack| stack.loads(self.shared.tier.store.backend(), key)) {
            return Step::Circular;
        }
        if let Some((lead, fence, snapshot)) = ahead.and_then(|ahead| ahead.take()) {
            tell(Event::Miss { key });
            let fill = Fill::ahead(Arc::clone(&self.shared), key.clone(), lead, fence, snapshot);
            let fill = self.as_called(fill, call);
            return Step::Load(LoadStart {
                fill,
                precondition,
                outage,
                nested,
                beside_from,
            });
        }
        let caller = Caller {
            since: call.since,
            unaware: outage,
            within: stack.map_or(&[][..], LoadStack::flights),
            overtaken: match precondition {
                Some(Precondition::Lease(lease)) => Some(lease),
                _ => None,
            },
        };
        let lacking = if outage {
            Event::Outage { key }
        } else {
            Event::Miss { key }
        };
        match self.shared.flights.join(key, result, caller) {
            Join::Lead(lead) => {
                tell(lacking);
                let fill = self.fill(key, lead, stale, call);
                Step::Load(LoadStart {
                    fill,
                    precondition,
                    outage,
                    nested,
                    beside_from,
                })
            }
            Join::Wait(wait) => {
                tell(lacking);
                tell(Event::Coalesced { key });
                Step::Wait(Waiting::new(Arc::clone(&self.shared), key.clone(), wait), stale)
            }
            Join::Circular => Step::Circular,
        }
    }
}

pub(super) fn remembered<E: Send + Sync + 'static>(
    error: Option<Arc<dyn Any + Send + Sync>>,
    message: Arc<str>,
) -> LoadError<E> {
    match error.and_then(|error| error.downcast::<E>().ok()) {
        Some(error) => LoadError::Failed(error),
        None => LoadError::Remembered(message),
    }
}
