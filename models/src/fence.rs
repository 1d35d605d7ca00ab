//! Leases: how a leader acquires one, renews it, and takes over that of a predecessor.

use crate::config::Flaw;
use crate::protocol::Protocol;
use crate::state::{Beside, Body, Fence, Flight, Precondition, Record, State, Task};

impl Protocol {
    pub(crate) fn acquire(&self, state: &mut State, flight: &mut Flight) -> Task {
        let found = state.store.record.map(|record| record.version);
        let wins = match flight.precondition {
            Some(Precondition::Nothing) => found.is_none(),
            Some(Precondition::Lease(version)) => found == Some(version),
            Some(Precondition::Record(record)) => !self.beside_stands(state, record),
            None => false,
        };
        if !wins && !self.config.is(Flaw::PlainLease) {
            return Task::Look;
        }
        let version = state.new_version();
        flight.lost = false;
        if let Some(Precondition::Record(record)) = flight.precondition {
            state.store.beside = Some(Beside {
                version,
                of: record,
                tag: self.tag_of_lease(flight),
            });
            flight.fence = Some(Fence::Record { record, lease: version });
            return if self.config.is(Flaw::NoSecondLook) {
                self.load()
            } else {
                Task::CheckRecord
            };
        }
        if let (true, Some(outdated)) = (wins, found) {
            state.lose(outdated);
        }
        state.store.record = Some(Record {
            version,
            tag: self.tag_of_lease(flight),
            body: Body::Lease,
        });
        flight.fence = Some(Fence::Lease(version));
        self.load()
    }

    pub(crate) fn inherit(&self, state: &mut State, flight: &mut Flight) -> Task {
        if !self.fence_stands_by_lease(state, flight) {
            return Self::without_fence(flight);
        }
        self.extend(state, flight);
        match flight.fence {
            Some(Fence::Record { .. }) => Task::InheritCheck,
            _ => self.load(),
        }
    }

    pub(crate) fn without_fence(flight: &mut Flight) -> Task {
        flight.fence = None;
        if flight.precondition.is_some() {
            Task::Acquire
        } else {
            Task::Look
        }
    }

    /// Renews the lease, which must be in the store.
    fn extend(&self, state: &mut State, flight: &mut Flight) {
        let version = state.new_version();
        match &mut flight.fence {
            Some(Fence::Lease(lease)) => {
                *lease = version;
                state.store.record = Some(Record {
                    version,
                    tag: self.tag_of_lease(flight),
                    body: Body::Lease,
                });
            }
            Some(Fence::Record { record, lease }) => {
                *lease = version;
                state.store.beside = Some(Beside {
                    version,
                    of: *record,
                    tag: self.tag_of_lease(flight),
                });
            }
            None => {}
        }
    }

    pub(crate) fn renew(&self, state: &mut State, slot: usize) {
        let Some(mut flight) = state.flights[slot] else { return };
        state.budget.renewals -= 1;
        self.extend(state, &mut flight);
        state.flights[slot] = Some(flight);
    }
}
