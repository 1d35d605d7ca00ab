//! What is to be done about what a read found.

use std::any::{Any, TypeId};
use std::sync::Arc;

use cache_core::{Key, Version};

use crate::event::Event;
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::{Asker, Join, Moment};
use crate::load::stack::LoadStack;
use crate::load::waiting::Waiting;
use crate::store::record::Found;
use crate::tier::precondition::Precondition;
use crate::tier::read::Read;

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
    pub(super) fn fallback<T>(self, stale: Option<&Found<T>>) -> Option<Found<T>> {
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
    pub(crate) basis: Option<Precondition>,
    /// Nobody has a fence while the store is out of reach.
    pub(crate) outage: bool,
}

impl<C: Send + Sync + 'static> Engine<C> {
    /// Decides what is to be done about what was seen by one who began to look at `since`, or earlier.
    pub(crate) fn step<T, E>(
        &self,
        key: &Key,
        seen: Read<T>,
        ask: Ask,
        since: Moment,
        chain: Option<&LoadStack>,
    ) -> Step<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let events = &self.shared.events;
        let (basis, stale, outage) = match seen {
            Read::Fresh(found, version) if ask.not != Some(version) => {
                events.emit(&Event::Hit { key });
                return Step::Done(Ok(Some(found)));
            }
            Read::Usable(found, version) if ask.not != Some(version) => {
                events.emit(&Event::Stale { key });
                let result = TypeId::of::<Outcome<T, E>>();
                let lead = if self.shared.is_open() {
                    self.shared.flights.lead_new(key, result)
                } else {
                    None
                };
                let take = lead.map(|lead| Take {
                    fill: Fill::new(Arc::clone(&self.shared), key.clone(), lead, Some(found.clone())),
                    basis: Some(Precondition::Record(version)),
                    outage: false,
                });
                return Step::Refresh(found, take);
            }
            Read::Absent(_) if ask.absent => {
                events.emit(&Event::NegativeHit { key });
                return Step::Done(Ok(None));
            }
            Read::Failed(error, message, version) if ask.not != Some(version) => {
                events.emit(&Event::NegativeHit { key });
                return Step::Done(Err(remembered(error, message)));
            }
            Read::Fresh(found, version) | Read::Usable(found, version) => {
                (Some(Precondition::Record(version)), Some(found), false)
            }
            Read::Absent(version) | Read::Failed(_, _, version) => (Some(Precondition::Record(version)), None, false),
            Read::Missing(basis, stale) => (Some(basis), stale, false),
            Read::Leased(..) => (None, None, false),
            Read::Outage => (None, None, true),
        };
        if chain.is_some_and(|chain| chain.loads(self.shared.tier.store.backend(), key)) {
            return Step::Circle;
        }
        let asker = Asker {
            since,
            unaware: outage,
            within: chain.map_or(&[][..], LoadStack::flights),
            overtaken: match basis {
                Some(Precondition::Lease(lease)) => Some(lease),
                _ => None,
            },
        };
        match self.shared.flights.join(key, TypeId::of::<Outcome<T, E>>(), asker) {
            Join::Lead(lead) => {
                events.emit(&if outage {
                    Event::Outage { key }
                } else {
                    Event::Miss { key }
                });
                let fill = Fill::new(Arc::clone(&self.shared), key.clone(), lead, stale);
                Step::Lead(Take { fill, basis, outage })
            }
            Join::Wait(wait) => {
                events.emit(&Event::Coalesced { key });
                Step::Wait(Waiting::new(Arc::clone(&self.shared), key.clone(), wait), stale)
            }
            Join::Circle => Step::Circle,
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
