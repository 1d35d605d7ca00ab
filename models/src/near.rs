//! Near copies: what a process stores in its memory, which changes are reported to it, and what it does about them.
//!
//! The *change stamp* (`mark` in names) changes with every report and every own change. A copy is stored only if the
//! stamp is what it was before the read or the write that the copy comes from.

use crate::config::Flaw;
use crate::protocol::Protocol;
use crate::state::{CHECKS, Change, Check, Copied, Near, Pair, Reader, State};

impl Protocol {
    /// Returns the copy of a process, if its tag is known to be unchanged.
    pub(crate) fn find_near(&self, state: &State, process: u8) -> Option<Copied> {
        let near = &state.near[usize::from(process)];
        near.copy
            .filter(|copied| self.config.near && (copied.tag.is_none() || copied.tag == near.memo))
    }

    /// Reads the tag's record, and remembers its versions until a change is reported.
    pub(crate) fn read_tag(&self, state: &mut State, process: u8) -> Option<Pair> {
        if self.config.near {
            state.near[usize::from(process)].memo = state.store.tag;
        }
        state.store.tag
    }

    /// Returns the tag's versions as the process remembers them. If it does not, reads them from the store.
    pub(crate) fn recall_tag(&self, state: &mut State, process: u8) -> Option<Pair> {
        match state.near[usize::from(process)].memo {
            Some(pair) => Some(pair),
            None => self.read_tag(state, process),
        }
    }

    /// Stores a copy of what was read, unless the change stamp has changed since.
    pub(crate) fn keep(&self, state: &mut State, process: u8, copied: Copied, unmoved: bool) {
        if unmoved || self.config.is(Flaw::NearUnchecked) {
            state.near[usize::from(process)].copy = Some(copied);
        }
    }

    /// Stores a copy of what this process wrote. If the change stamp has changed since the write began, compares the
    /// copy with the store first.
    pub(crate) fn keep_own(&self, state: &mut State, process: u8, copied: Copied, unmoved: bool) {
        if !self.config.near || !self.config.readers.contains(&process) {
            return;
        }
        if !self.config.is(Flaw::OwnDoesNotMoveTheMark) && !self.config.is(Flaw::OwnByLastWritten) {
            self.move_mark(state, process);
        }
        let near = &mut state.near[usize::from(process)];
        if unmoved || self.config.is(Flaw::OwnKeptThoughMoved) {
            near.own = self.config.told.then_some(copied.version);
            near.copy = Some(copied);
        } else {
            near.copy = None;
            near.check(copied);
        }
    }

    /// Changes the change stamp and removes the copy.
    pub(crate) fn forget(&self, state: &mut State, process: u8) {
        self.move_mark(state, process);
        state.near[usize::from(process)].remove();
    }

    /// Changes the change stamp of the process, so that everything that has taken it finds it changed.
    pub(crate) fn move_mark(&self, state: &mut State, process: u8) {
        for (reader, of) in state.readers.iter_mut().zip(self.config.readers) {
            if let (Reader::Active { slot_unchanged, .. }, true) = (reader, *of == process) {
                *slot_unchanged = false;
            }
        }
        for flight in state.flights.iter_mut().flatten() {
            flight.slot_unchanged &= flight.process != process;
        }
        for invalidation in state.invalidations.iter_mut().flatten() {
            invalidation.slot_unchanged &= invalidation.process != process;
        }
        if !self.config.is(Flaw::PutBackUnchecked) {
            let near = &mut state.near[usize::from(process)];
            for check in near.checks.iter_mut().flatten() {
                if let Check::Same(copied) = *check {
                    // The version in the store is read again.
                    *check = Check::Asks(copied);
                }
            }
            near.checks.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// Returns whether a change can be delivered now.
    pub(crate) fn can_deliver(state: &State, process: u8) -> bool {
        let near = &state.near[usize::from(process)];
        !near.queue.is_empty() && near.checks.iter().any(Option::is_none)
    }

    /// Delivers the first change, or the first two as one: they are of the same record.
    pub(crate) fn deliver(&self, state: &mut State, process: u8, both: bool) {
        let near = &mut state.near[usize::from(process)];
        let notice = near.queue.remove(0);
        near.told |= notice.tells;
        if both {
            near.told |= near.queue.remove(0).tells;
        }
        if notice.of_tag {
            near.memo = None;
            return;
        }
        self.move_mark(state, process);
        let near = &mut state.near[usize::from(process)];
        match (near.own.take(), near.copy) {
            (Some(_), _) if self.config.is(Flaw::OwnNoticeIgnored) => {}
            (own @ Some(_), Some(copied)) => {
                if !self.config.is(Flaw::OwnComparedInItsPlace) {
                    near.copy = None;
                }
                if self.config.is(Flaw::OwnByLastWritten) {
                    near.own = own;
                }
                near.check(copied);
            }
            _ => near.copy = None,
        }
    }

    /// Compares a copy with the store, and puts it back if both are still the same.
    pub(crate) fn check(&self, state: &mut State, process: u8, index: usize) {
        let in_place = self.config.is(Flaw::OwnComparedInItsPlace);
        let last = state.store.record.map(|record| record.version);
        let near = &mut state.near[usize::from(process)];
        near.checks[index] = match near.checks[index].take() {
            Some(Check::Asks(copied)) => {
                let expected = match near.own {
                    Some(own) if self.config.is(Flaw::OwnByLastWritten) => own,
                    _ => copied.version,
                };
                let same = last == Some(expected);
                if in_place && !same {
                    near.copy = None;
                }
                same.then_some(Check::Same(copied))
            }
            Some(Check::Same(copied)) => {
                near.copy = Some(copied);
                None
            }
            None => None,
        };
        near.checks.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Reports to every process what has changed in the records from `last` to `state`.
    pub(crate) fn notify(&self, last: &State, state: &mut State) {
        if !self.config.near || !self.config.told {
            return;
        }
        let version = |state: &State| state.store.record.map(|record| record.version);
        let now = version(state);
        let of_record = version(last) != now;
        let of_tag = last.store.tag != state.store.tag;
        let tells = state.done() & !last.done();
        for (process, near) in (0..).zip(&mut state.near) {
            if !self.config.readers.contains(&process) {
                // Nothing is read in this process.
                continue;
            }
            if of_record || of_tag {
                near.queue.push(Change { of_tag, tells });
            } else if let Some(notice) = near.queue.last_mut() {
                // Nothing new to report: the process is up to date once the earlier changes are delivered.
                notice.tells |= tells;
            } else {
                near.told |= tells;
            }
            let copied = near.copy.map(|copied| copied.version);
            state.broken.near_astray |= near.queue.is_empty() && copied.is_some() && copied != now;
        }
    }
}

impl Near {
    /// Removes the copy, and expects no report of an own write any more.
    pub(crate) fn remove(&mut self) {
        self.copy = None;
        self.own = None;
    }

    fn check(&mut self, copied: Copied) {
        if let Some(free) = self.checks.iter_mut().find(|check| check.is_none()) {
            *free = Some(Check::Asks(copied));
            self.checks.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// Returns whether no report and no comparison is under way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.queue.is_empty() && self.checks == [None; CHECKS]
    }
}
