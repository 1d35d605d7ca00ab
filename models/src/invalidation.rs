//! What invalidates: by key, by tag, by clearing, by writing another value; and how near copies hear of it.

use crate::config::{Flaw, Tagging};
use crate::protocol::Protocol;
use crate::state::{Body, Fence, Kind, Pair, Reader, Record, State, Step, Value};

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
            Kind::Key => {
                state.remove_record();
                Step::Returns
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
                    Step::Returns
                }
            },
            Kind::Set => Self::set(state, invalidation.step, self.config.tagged()),
            Kind::Tag => self.rewrite_tag(state, invalidation.step),
            Kind::TagSoft => self.rewrite_soft(state, invalidation.step),
        };
        if next == Step::Returns && self.config.near {
            for process in 0..self.processes() {
                if process != invalidation.process {
                    let queue = &mut state.near[usize::from(process)].queue;
                    let mut place = 1;
                    while *queue >= place {
                        place *= 4;
                    }
                    *queue += (index as u16 + 1) * place;
                }
            }
        }
        if let Some(invalidation) = &mut state.invalidations[index] {
            invalidation.step = next;
        }
    }

    /// Tells the own process, and returns.
    fn returns(&self, state: &mut State, index: usize, process: u8) {
        // An invalidation of a tag does not know which flights it concerns.
        if state.by_key() & 1 << index != 0
            && let Some(slot) = state.flight_in_map(process)
            && let Some(flight) = &mut state.flights[slot]
        {
            flight.in_map = false;
        }
        if self.config.near {
            self.drop_copy(state, process);
            state.near[usize::from(process)].told |= 1 << index;
        }
        state.returned |= 1 << index;
    }

    pub(crate) fn tell_of_change(&self, state: &mut State, process: u8) {
        let near = &mut state.near[usize::from(process)];
        let index = near.queue % 4;
        near.queue /= 4;
        near.told |= 1 << (index - 1);
        self.drop_copy(state, process);
    }

    /// Raises the generation of the near slot, and empties it.
    fn drop_copy(&self, state: &mut State, process: u8) {
        for (reader, of) in state.readers.iter_mut().zip(self.config.readers) {
            if let (Reader::Active { slot_unchanged, .. }, true) = (reader, *of == process) {
                *slot_unchanged = false;
            }
        }
        for flight in state.flights.iter_mut().flatten() {
            flight.slot_unchanged &= flight.process != process;
        }
        state.near[usize::from(process)].copy = None;
    }

    fn end_freshness(&self, state: &mut State, step: Step) -> Step {
        let Step::Marks(read) = step else {
            return match state.store.record {
                None => Step::Returns,
                record => Step::Marks(record),
            };
        };
        let unchanged = read.is_some_and(|read| state.store.record.is_some_and(|now| now.version == read.version));
        if !unchanged {
            // Somebody was faster: once more.
            return Step::First;
        }
        match read.map(|read| read.body) {
            Some(Body::Lease) | None => state.remove_record(),
            Some(Body::Fresh(value) | Body::Old(value)) => {
                let tag = read.and_then(|read| read.tag);
                state.write_record(tag, Body::Old(value));
            }
        }
        Step::Returns
    }

    fn set(state: &mut State, step: Step, tagged: bool) -> Step {
        match step {
            Step::Writes(tag, seen) => {
                state.write_record(tag, Body::Fresh(Value { seen }));
                Step::Returns
            }
            _ => {
                // The caller answers for the value itself: only what comes by the tag can put it out of use.
                let seen = state.begun | state.by_key();
                if !tagged {
                    state.write_record(None, Body::Fresh(Value { seen }));
                    return Step::Returns;
                }
                if state.store.tag.is_none() {
                    state.store.tag = Some(state.new_pair());
                }
                Step::Writes(state.store.tag, seen)
            }
        }
    }

    fn rewrite_tag(&self, state: &mut State, step: Step) -> Step {
        let late = self.config.tagging == Tagging::Late;
        let master_now = late && (step == Step::Idle) != self.config.is(Flaw::TagBeforeMaster);
        if master_now {
            state.store.master = Some(state.new_master());
        } else {
            state.store.tag = Some(state.new_pair());
        }
        if late && step == Step::Idle {
            Step::First
        } else {
            Step::Returns
        }
    }

    fn rewrite_soft(&self, state: &mut State, step: Step) -> Step {
        let late = self.config.tagging == Tagging::Late;
        let last_is_master = self.config.is(Flaw::TagBeforeMaster);
        match step {
            Step::Idle if late && !last_is_master => {
                state.store.master = Some(state.new_master());
                Step::First
            }
            Step::Rewrites(read) => {
                if state.store.tag != read && !self.config.is(Flaw::PlainSoft) {
                    return Step::First;
                }
                state.store.tag = Some(match read {
                    Some(read) => Pair {
                        hard: read.hard,
                        soft: state.new_half(),
                    },
                    None => state.new_pair(),
                });
                if late && last_is_master {
                    return Step::Marks(None);
                }
                Step::Returns
            }
            Step::Marks(_) => {
                state.store.master = Some(state.new_master());
                Step::Returns
            }
            _ => Step::Rewrites(state.store.tag),
        }
    }
}

impl State {
    /// Removes the record, by right.
    pub(crate) fn remove_record(&mut self) {
        if let Some(record) = self.store.record.take() {
            self.lose(record.version);
        }
    }

    /// Writes a record over whatever is there, by right.
    pub(crate) fn write_record(&mut self, tag: Option<Pair>, body: Body) {
        let version = self.new_version();
        self.remove_record();
        self.store.record = Some(Record { version, tag, body });
    }

    /// Notes that the lease, or the record, of this version is there no more: whoever relied on it has lost its fence.
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
