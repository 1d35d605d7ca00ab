//! Copies near at hand: what a process keeps, what it is told, and what it makes of that.

use crate::config::Flaw;
use crate::protocol::Protocol;
use crate::state::{CHECKS, Change, Check, Copied, Near, Pair, Reader, State};

impl Protocol {
    /// The copy of a process, if its tag is known to be as it was.
    pub(crate) fn find_near(&self, state: &State, process: u8) -> Option<Copied> {
        let near = &state.near[usize::from(process)];
        near.copy
            .filter(|copied| self.config.near && (copied.tag.is_none() || copied.tag == near.memo))
    }

    /// Reads the tag's record, and remembers what it says until something else is told.
    pub(crate) fn read_tag(&self, state: &mut State, process: u8) -> Option<Pair> {
        if self.config.near {
            state.near[usize::from(process)].memo = state.store.tag;
        }
        state.store.tag
    }

    /// What the tag says as far as the process remembers, or the store if it does not.
    pub(crate) fn recall_tag(&self, state: &mut State, process: u8) -> Option<Pair> {
        match state.near[usize::from(process)].memo {
            Some(pair) => Some(pair),
            None => self.read_tag(state, process),
        }
    }

    /// Keeps a copy of what was read, unless the mark has moved since.
    pub(crate) fn keep(&self, state: &mut State, process: u8, copied: Copied, unmoved: bool) {
        if unmoved || self.config.is(Flaw::NearUnchecked) {
            state.near[usize::from(process)].copy = Some(copied);
        }
    }

    /// Keeps a copy of what this process wrote, or looks first if the mark has moved since the write began.
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

    /// Moves the mark and removes the copy.
    pub(crate) fn forget(&self, state: &mut State, process: u8) {
        self.move_mark(state, process);
        state.near[usize::from(process)].remove();
    }

    /// Whoever has taken the mark of the process finds that it has moved.
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
                    // The store is asked again.
                    *check = Check::Asks(copied);
                }
            }
            near.checks.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// Whether a notice can be told now.
    pub(crate) fn can_deliver(state: &State, process: u8) -> bool {
        let near = &state.near[usize::from(process)];
        !near.queue.is_empty() && near.checks.iter().any(Option::is_none)
    }

    /// Tells the first notice, or the first two as one: they are about the same record.
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

    /// Compares a copy with the store, and puts it back if it is still the same.
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

    /// Tells every process of what has happened to the records from `last` to `state`.
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
                // Nobody looks there.
                continue;
            }
            if of_record || of_tag {
                near.queue.push(Change { of_tag, tells });
            } else if let Some(notice) = near.queue.last_mut() {
                // There is nothing to tell; it is up to date once it was told of all before.
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
    /// Removes the copy, and whatever is expected of it.
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

    /// Whether nothing is under way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.queue.is_empty() && self.checks == [None; CHECKS]
    }
}
