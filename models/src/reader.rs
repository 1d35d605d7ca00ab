//! A reader of the key: it reads, and then answers, waits or leads.

use crate::config::Flaw;
use crate::protocol::Protocol;
use crate::state::{At, Fence, Leader, Precondition, Read, Reader, Set, State, Task, Value};

impl Protocol {
    pub(crate) fn reader(&self, state: &mut State, reader: usize) {
        let process = self.config.readers[reader];
        match state.readers[reader] {
            Reader::Idle => {
                let told = state.near[usize::from(process)].told;
                if let Some(copied) = self.find_near(state, process) {
                    // A near copy counts as outdated only after changes that were reported to its process.
                    state.readers[reader] = Reader::Done;
                    state.judge(copied.value, told, told);
                    return;
                }
                // Remembered tag versions, too, count as outdated only after reported changes.
                let must = match self.config.near {
                    true => state.returned & state.by_key() | told,
                    false => state.returned,
                };
                state.readers[reader] = Reader::Active {
                    must,
                    slot_unchanged: true,
                    at: At::Read,
                };
                if !self.config.near {
                    self.read(state, reader);
                }
            }
            Reader::Active {
                must,
                slot_unchanged,
                at,
            } => match at {
                At::Read => self.read(state, reader),
                At::ReadTag(record) => {
                    let tag = self.recall_tag(state, process);
                    let seen = self.classify(Some(record), tag);
                    self.has_seen(state, reader, seen);
                }
                At::Join(seen) => self.join(state, reader, seen),
                At::Insert(copied) => {
                    state.readers[reader] = Reader::Done;
                    if self.config.is(Flaw::NearTakenOutLater) {
                        state.near[usize::from(process)].copy = Some(copied);
                        state.readers[reader] = Reader::Active {
                            must,
                            slot_unchanged,
                            at: At::TakeOut,
                        };
                    } else {
                        self.keep(state, process, copied, slot_unchanged);
                    }
                }
                At::TakeOut => {
                    if !slot_unchanged {
                        state.near[usize::from(process)].copy = None;
                    }
                    state.readers[reader] = Reader::Done;
                }
                At::Wait(..) | At::Lead(_) => {}
            },
            Reader::Done => {}
        }
    }

    fn read(&self, state: &mut State, reader: usize) {
        match state.store.record {
            Some(record) if record.tag.is_some() => state.go_on(reader, At::ReadTag(record)),
            record => {
                let seen = self.classify(record, None);
                self.has_seen(state, reader, seen);
            }
        }
    }

    fn has_seen(&self, state: &mut State, reader: usize, seen: Read) {
        match seen {
            Read::Fresh(copied) if self.config.near => {
                let (_, slot_unchanged) = state.answer(reader, copied.value, false);
                state.readers[reader] = Reader::Active {
                    must: 0,
                    slot_unchanged,
                    at: At::Insert(copied),
                };
            }
            Read::Fresh(copied) => {
                state.answer(reader, copied.value, false);
            }
            seen => state.go_on(reader, At::Join(seen)),
        }
    }

    fn join(&self, state: &mut State, reader: usize, seen: Read) {
        let process = self.config.readers[reader];
        let mut found = state.flight_in_map(process);
        let (precondition, stale) = match seen {
            Read::Usable(stale, version) => {
                state.answer(reader, stale.value, true);
                if found.is_none() {
                    let precondition = Precondition::Record(version);
                    self.start(state, reader, Leader::Background, Some(precondition), Some(stale));
                }
                return;
            }
            Read::Missing(precondition, stale) => (Some(precondition), stale),
            Read::Leased | Read::Fresh(_) => (None, None),
        };
        if let (Some(Precondition::Lease(lease)), Some(slot)) = (precondition, found)
            && let Some(flight) = &mut state.flights[slot]
            && flight.task != Task::Vacant
            && matches!(flight.fence, Some(Fence::Lease(own)) if own == lease)
        {
            // Its value is not for readers that begin from now on, so there is nothing to wait for.
            flight.in_map = false;
            found = None;
        }
        let Some(slot) = found else {
            self.start(state, reader, Leader::Reader(reader as u8), precondition, stale);
            state.go_on(reader, At::Lead(reader as u8));
            return;
        };
        let vacant = state.flights[slot].is_some_and(|flight| flight.task == Task::Vacant);
        if vacant && !self.config.is(Flaw::LeadNotPassedOn) {
            self.lead(state, reader, slot, precondition, stale);
        } else {
            state.go_on(reader, At::Wait(slot as u8, stale));
        }
    }

    pub(crate) fn take_lead(&self, state: &mut State, reader: u8, slot: u8) {
        if let Reader::Active {
            at: At::Wait(_, stale), ..
        } = state.readers[usize::from(reader)]
        {
            self.lead(state, usize::from(reader), usize::from(slot), None, stale);
        }
    }
}

impl State {
    /// Sets what an active reader does next.
    pub(crate) fn go_on(&mut self, reader: usize, next: At) {
        if let Reader::Active { at, slot_unchanged, .. } = &mut self.readers[reader] {
            *at = next;
            // The change stamp is taken before each read.
            *slot_unchanged |= next == At::Read;
        }
    }

    /// Gives `value` to a reader. A stale one only has to be newer than the last hard invalidation.
    pub(crate) fn answer(&mut self, reader: usize, value: Value, stale: bool) -> (Set, bool) {
        let Reader::Active {
            must, slot_unchanged, ..
        } = std::mem::replace(&mut self.readers[reader], Reader::Done)
        else {
            return (0, false);
        };
        let hard = self.hard(must);
        self.judge(value, if stale { hard } else { must }, hard);
        (must, slot_unchanged)
    }

    /// Records a violation if `value` does not reflect all invalidations in `must`.
    pub(crate) fn judge(&mut self, value: Value, must: Set, hard: Set) {
        let hard = self.hard(hard);
        self.broken.old |= must & !value.seen != 0;
        self.broken.resurrected |= hard & !value.seen != 0;
    }
}
