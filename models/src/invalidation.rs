//! Invalidations by key, by tag, by clearing and by writing another value, and how they reach near copies.

use crate::config::Kind;
use crate::config::{Flaw, Tagging};
use crate::protocol::Protocol;
use crate::state::{Body, Copied, Fence, Invalidation, Pair, Record, State, Step, Value, Version};

impl Protocol {
    pub(crate) fn invalidate(&self, state: &mut State, index: usize) {
        let Some(invalidation) = state.invalidations[index] else {
            return;
        };
        if invalidation.step == Step::Idle {
            state.begun |= 1 << index;
        }
        let next = match invalidation.kind {
            _ if invalidation.step == Step::Returns => {
                self.returns(state, index, invalidation.process);
                Step::Over
            }
            _ if matches!(invalidation.step, Step::Forgets | Step::Moves | Step::Keeps(_)) => {
                self.sees_to_own_copies(state, &invalidation)
            }
            Kind::Key => {
                state.remove_record();
                self.done()
            }
            Kind::KeySoft => self.end_freshness(state, invalidation.step),
            Kind::Clear => match invalidation.step {
                Step::Idle => {
                    if let Some(lease) = state.store.beside.take() {
                        state.lose(lease.version);
                    }
                    Step::First
                }
                _ => {
                    state.remove_record();
                    self.done()
                }
            },
            Kind::Set => self.set(state, index, invalidation),
            Kind::Tag => self.rewrite_tag(state, invalidation.step),
            Kind::TagSoft => self.rewrite_soft(state, invalidation.step),
            Kind::TagRemoved => self.remove_tag(state, invalidation.step),
        };
        if let Some(invalidation) = &mut state.invalidations[index] {
            invalidation.step = next;
        }
    }

    /// Informs its own process, and returns.
    fn returns(&self, state: &mut State, index: usize, process: u8) {
        // An invalidation of a tag does not know which flights it concerns.
        if state.by_key() & 1 << index != 0
            && let Some(slot) = state.flight_in_map(process)
            && let Some(flight) = &mut state.flights[slot]
        {
            flight.in_map = false;
        }
        let of_tag = state.by_key() & 1 << index == 0;
        let near = &mut state.near[usize::from(process)];
        near.told |= 1 << index;
        if of_tag {
            // It does not remember the version that it wrote itself, but reads it again.
            near.memo = None;
        }
        state.returned |= 1 << index;
    }

    /// Returns the step that follows once the store has done its part.
    fn done(&self) -> Step {
        if self.config.near { Step::Forgets } else { Step::Returns }
    }

    fn sees_to_own_copies(&self, state: &mut State, invalidation: &Invalidation) -> Step {
        let process = invalidation.process;
        match invalidation.step {
            Step::Keeps(copied) => self.keep_own(state, process, copied, invalidation.slot_unchanged),
            Step::Forgets if self.config.is(Flaw::NearForgottenFirst) => {
                state.near[usize::from(process)].remove();
                return Step::Moves;
            }
            Step::Forgets => self.forget(state, process),
            _ => self.move_mark(state, process),
        }
        Step::Returns
    }

    fn end_freshness(&self, state: &mut State, step: Step) -> Step {
        let Step::Marks(read) = step else {
            return match state.store.record {
                None => self.done(),
                record => Step::Marks(record),
            };
        };
        let unchanged = read.is_some_and(|read| state.store.record.is_some_and(|now| now.version == read.version));
        if !unchanged {
            // Another writer was faster: try again.
            return Step::First;
        }
        match read.map(|read| read.body) {
            Some(Body::Lease) | None => state.remove_record(),
            Some(Body::Fresh(value) | Body::Old(value)) => {
                let tag = read.and_then(|read| read.tag);
                state.write_record(tag, Body::Old(value));
            }
        }
        self.done()
    }

    fn set(&self, state: &mut State, index: usize, invalidation: Invalidation) -> Step {
        let Step::Writes(tag, seen) = invalidation.step else {
            if self.config.tagged() && state.store.tag.is_none() {
                state.store.tag = Some(state.new_pair());
            }
            if let Some(invalidation) = &mut state.invalidations[index] {
                invalidation.slot_unchanged = true;
            }
            return Step::Writes(self.read_tag(state, invalidation.process), state.begun);
        };
        // The caller vouches for the value: it is newer than what it replaces, and than what its tag said before.
        let seen = seen & !state.by_key() | state.done() & state.by_key() | 1 << index;
        let value = Value { seen };
        let version = state.write_record(tag, Body::Fresh(value));
        if self.config.near {
            Step::Keeps(Copied { version, tag, value })
        } else {
            Step::Returns
        }
    }

    /// Records the invalidation of a tag that loads may learn of late, and then does `write`. If that rule is removed,
    /// does `write` first.
    fn of_tag(&self, state: &mut State, step: Step, write: impl FnOnce(&Self, &mut State, Step) -> Step) -> Step {
        let late = self.config.tagging == Tagging::Late;
        let notes_last = self.config.is(Flaw::TagBeforeNote);
        let then = if notes_last { Step::Returns } else { Step::First };
        match step {
            Step::ReadsPage(_) | Step::ReadsSequence(_) | Step::Notes(..) | Step::MarksUsed(_) | Step::NotesLast => {
                self.note(state, step, then)
            }
            Step::Idle if late && !notes_last => self.note(state, step, then),
            _ => match write(self, state, step) {
                Step::Returns if late && notes_last => Step::NotesLast,
                next => next,
            },
        }
    }

    fn rewrite_tag(&self, state: &mut State, step: Step) -> Step {
        self.of_tag(state, step, |_, state, _| {
            state.store.tag = Some(state.new_pair());
            Step::Returns
        })
    }

    fn rewrite_soft(&self, state: &mut State, step: Step) -> Step {
        self.of_tag(state, step, |model, state, step| {
            let Step::Rewrites(read) = step else {
                return Step::Rewrites(state.store.tag);
            };
            if state.store.tag != read && !model.config.is(Flaw::PlainSoft) {
                return Step::First;
            }
            state.store.tag = Some(match read {
                Some(read) => Pair {
                    hard: read.hard,
                    soft: state.new_half(),
                },
                None => state.new_pair(),
            });
            Step::Returns
        })
    }

    /// Removes the sequence and the tag's record, in a store that accepts no writes.
    fn remove_tag(&self, state: &mut State, step: Step) -> Step {
        if step == Step::Idle && !self.config.is(Flaw::SequenceNotRemoved) {
            state.store.sequence = None;
            return Step::First;
        }
        state.store.tag = None;
        Step::Returns
    }
}

impl State {
    /// Removes the record. The protocol permits it.
    pub(crate) fn remove_record(&mut self) {
        if let Some(record) = self.store.record.take() {
            self.lose(record.version);
        }
    }

    /// Writes a record unconditionally. The protocol permits it.
    pub(crate) fn write_record(&mut self, tag: Option<Pair>, body: Body) -> Version {
        let version = self.new_version();
        self.remove_record();
        self.store.record = Some(Record { version, tag, body });
        version
    }

    /// Records that the lease or the record of this version is gone: a leader that relied on it has lost its fence.
    pub(crate) fn lose(&mut self, version: u8) {
        for flight in self.flights.iter_mut().flatten() {
            flight.lost |= match flight.fence {
                Some(Fence::Lease(lease)) => lease == version,
                Some(Fence::Record { record, lease }) => record == version || lease == version,
                None => false,
            };
        }
    }
}
