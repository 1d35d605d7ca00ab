//! Which actions are enabled in a state.

use std::fmt;

use stateright::Model;

use crate::action::Action;
use crate::config::Flaw;
use crate::protocol::Protocol;
use crate::state::{Body, Leader, Reader, State, Step, Task};

impl Protocol {
    /// Adds the actions that continue what has begun: no faults, and no new actors. If there are none, everything is at
    /// rest, or stuck.
    pub(crate) fn going_on(&self, state: &State, actions: &mut Vec<Action>) {
        if state.limbo.is_some() {
            actions.push(Action::Arrive);
        }
        for (process, near) in (0..).zip(&state.near) {
            for (index, check) in (0..).zip(&near.checks) {
                if check.is_some() {
                    actions.push(Action::Check { process, index });
                }
            }
            if Self::can_deliver(state, process) {
                actions.push(Action::Deliver { process, both: false });
                if let [first, second, ..] = near.queue[..]
                    && first.of_tag == second.of_tag
                {
                    actions.push(Action::Deliver { process, both: true });
                }
            }
        }
        for (index, invalidation) in (0..).zip(&state.invalidations) {
            if invalidation.is_some_and(|it| !matches!(it.step, Step::Idle | Step::Over | Step::Broken)) {
                actions.push(Action::Invalidate(index));
            }
        }
        for (slot, flight) in (0..).zip(&state.flights) {
            let Some(flight) = flight else { continue };
            match flight.task {
                Task::Vacant => {
                    if !self.config.is(Flaw::LeadNotPassedOn) {
                        let heirs = state.waiting(usize::from(slot));
                        actions.extend(heirs.map(|reader| Action::TakeLead {
                            reader: reader as u8,
                            slot,
                        }));
                    }
                }
                Task::Pause if self.waits_still(state, flight.precondition) => {}
                _ => actions.push(Action::Flight(slot)),
            }
        }
        for (reader, state) in (0..).zip(&state.readers) {
            if self.takes_steps(state) {
                actions.push(Action::Reader(reader));
            }
        }
        if !self.config.is(Flaw::LeaseForEver) {
            let lease = state.store.record.filter(|record| record.body == Body::Lease);
            if lease.is_some_and(|lease| self.config.expiry || !self.is_held(state, lease.version)) {
                actions.push(Action::Expire);
            }
            if state
                .store
                .beside
                .is_some_and(|lease| self.config.expiry || !self.is_held(state, lease.version))
            {
                actions.push(Action::ExpireBeside);
            }
        }
    }

    /// Adds the actions that begin something new, and the faults.
    pub(crate) fn coming_up(&self, state: &State, actions: &mut Vec<Action>) {
        for (reader, _) in self.config.readers.iter().enumerate() {
            if state.readers[reader] == Reader::Idle {
                actions.push(Action::Reader(reader as u8));
            }
        }
        for (index, invalidation) in (0..).zip(&state.invalidations) {
            if invalidation.is_some_and(|it| it.step == Step::Idle) {
                actions.push(Action::Invalidate(index));
            }
        }
        let budget = state.budget;
        for (slot, flight) in (0..).zip(&state.flights) {
            let Some(flight) = flight else { continue };
            let writes = self.config.limbo
                && state.limbo.is_none()
                && matches!(flight.task, Task::Acquire | Task::Fill)
                && self.write_under_way(flight).is_some();
            if flight.task == Task::Source && budget.failures > 0 {
                actions.push(Action::Fail(slot));
            }
            if flight.task == Task::Fill && self.config.unstored {
                actions.push(Action::Unstored(slot));
            }
            if matches!(flight.task, Task::Source | Task::Fill)
                && budget.renewals > 0
                && self.fence_stands_by_lease(state, flight)
            {
                actions.push(Action::Renew(slot));
            }
            if matches!(flight.leader, Leader::Reader(_))
                && !matches!(flight.task, Task::Land(_))
                && budget.departures > 0
            {
                actions.push(Action::Leave { slot, sent: false });
                if writes {
                    actions.push(Action::Leave { slot, sent: true });
                }
            }
            if budget.crashes > 0 && writes {
                actions.push(Action::Crash {
                    process: flight.process,
                    sent: Some(slot),
                });
            }
        }
        if budget.crashes > 0 {
            for process in 0..self.processes() {
                if self.is_busy(state, process) {
                    actions.push(Action::Crash { process, sent: None });
                }
            }
        }
        let fresh = state
            .store
            .record
            .is_some_and(|record| matches!(record.body, Body::Fresh(_)));
        if budget.ages > 0 && fresh {
            actions.push(Action::Age);
        }
        if budget.losses > 0 {
            if state.store.tag.is_some() {
                actions.push(Action::LoseTag);
            }
            if state.store.sequence.is_some() {
                actions.push(Action::LoseSequence);
            }
        }
        if budget.losses + budget.pages > 0 && state.store.page.is_some() {
            actions.push(Action::LosePage);
        }
    }

    /// Returns a description of `action` in `state`, for a trace.
    pub fn describe(&self, state: &State, action: Action) -> String {
        let mut text = format!("{action:?}");
        let mut add = |what: &dyn fmt::Debug| text = format!("{text}: {what:?}");
        match action {
            Action::Reader(reader) => add(&state.readers[usize::from(reader)]),
            Action::Flight(slot) | Action::Fail(slot) | Action::Leave { slot, .. } => {
                if let Some(flight) = &state.flights[usize::from(slot)] {
                    add(&flight.task);
                }
            }
            Action::Invalidate(index) => {
                if let Some(invalidation) = &state.invalidations[usize::from(index)] {
                    add(invalidation);
                }
            }
            _ => {}
        }
        if let Some(next) = self.next_state(state, action) {
            text = format!("{text}\n      {:?}", next.store);
            if next.broken != state.broken {
                text = format!("{text}\n      {:?}", next.broken);
            }
        }
        text
    }
}
