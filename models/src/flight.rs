//! A flight: how its leader prepares, loads, stores and lands.

use crate::config::{Flaw, Tagging};
use crate::protocol::Protocol;
use crate::state::{
    At, Copied, Fence, Flight, Landing, Leader, Mode, Precondition, Purpose, Read, Reader, Stale, State, Task, Value,
};

impl Flight {
    /// Returns what was loaded.
    pub(crate) fn loaded(&self) -> Option<Value> {
        match self.outcome {
            Some(Landing::Value(value)) => Some(value),
            _ => None,
        }
    }
}

impl Protocol {
    /// Begins a flight in the slot of `reader`.
    pub(crate) fn start(
        &self,
        state: &mut State,
        reader: usize,
        leader: Leader,
        precondition: Option<Precondition>,
        stale: Option<Stale>,
    ) {
        state.flights[reader] = Some(Flight {
            process: self.config.readers[reader],
            in_map: true,
            leader,
            sealed_for: 0,
            task: self.first_task(None, precondition),
            precondition,
            stale,
            fence: None,
            tag: None,
            began: None,
            outcome: None,
            failed_after: 0,
            slot_unchanged: false,
            lost: false,
        });
    }

    /// Takes over a flight without a leader.
    pub(crate) fn lead(
        &self,
        state: &mut State,
        reader: usize,
        slot: usize,
        precondition: Option<Precondition>,
        stale: Option<Stale>,
    ) {
        state.go_on(reader, At::Lead(slot as u8));
        if let Some(flight) = &mut state.flights[slot] {
            flight.leader = Leader::Reader(reader as u8);
            flight.task = self.first_task(flight.fence, precondition);
            flight.precondition = precondition;
            flight.stale = stale;
        }
    }

    fn first_task(&self, fence: Option<Fence>, precondition: Option<Precondition>) -> Task {
        match (fence, precondition) {
            (Some(_), _) => self.capture_for(Purpose::Inherit),
            (None, Some(_)) => self.capture_for(Purpose::Acquire),
            (None, None) => Task::Look,
        }
    }

    /// Returns the task that takes the tag's snapshot for `purpose`. It comes before the lease.
    fn capture_for(&self, purpose: Purpose) -> Task {
        match self.config.tagging {
            Tagging::Declared if !self.config.is(Flaw::TagAfterLoad) => Task::Tag(purpose),
            Tagging::Late => Task::Begin(purpose),
            _ => self.after_capture(purpose),
        }
    }

    pub(crate) fn after_capture(&self, purpose: Purpose) -> Task {
        match purpose {
            Purpose::Acquire => Task::Acquire,
            Purpose::Inherit => Task::Inherit,
            Purpose::Source => Task::Source,
            Purpose::Fill => {
                if self.config.tagging == Tagging::Late && !self.config.is(Flaw::PageBeforeLateTag) {
                    self.first_check()
                } else {
                    Task::Fill
                }
            }
        }
    }

    /// Returns the first task of the load, once the lease is acquired.
    pub(crate) fn load(&self) -> Task {
        match self.config.tagging {
            Tagging::Added if !self.config.is(Flaw::TagAfterLoad) => Task::Tag(Purpose::Source),
            _ => Task::Source,
        }
    }

    fn loaded(&self) -> Task {
        match self.config.tagging {
            Tagging::Late if self.config.is(Flaw::PageBeforeLateTag) => self.first_check(),
            Tagging::Late => Task::Tag(Purpose::Fill),
            Tagging::Declared | Tagging::Added if self.config.is(Flaw::TagAfterLoad) => Task::Tag(Purpose::Fill),
            _ => Task::Fill,
        }
    }

    pub(crate) fn flight(&self, state: &mut State, slot: usize) {
        let Some(mut flight) = state.flights[slot] else { return };
        let process = flight.process;
        let last = flight.task;
        flight.task = match flight.task {
            Task::Vacant => Task::Vacant,
            Task::Begin(_)
            | Task::MoveOn(..)
            | Task::BeginPage(_)
            | Task::BeginSequence(..)
            | Task::CheckSequence
            | Task::CheckPage
            | Task::WriteUnknown(_)
            | Task::FindOut(_)
            | Task::WriteKnown(..)
            | Task::MarkUsed(_) => self.late(state, &mut flight),
            Task::Tag(purpose) => match self.read_tag(state, process) {
                Some(tag) => {
                    flight.tag = Some(tag);
                    self.after_capture(purpose)
                }
                None => Task::BeginTag(purpose),
            },
            Task::BeginTag(purpose) => {
                if state.store.tag.is_none() {
                    let pair = state.new_pair();
                    state.store.tag = Some(pair);
                    flight.tag = Some(pair);
                    self.after_capture(purpose)
                } else {
                    Task::Tag(purpose)
                }
            }
            Task::Acquire => self.acquire(state, &mut flight),
            Task::CheckRecord => {
                if Self::record_stands(state, &flight) {
                    self.load()
                } else {
                    flight.fence = None;
                    Task::Look
                }
            }
            Task::Inherit => self.inherit(state, &mut flight),
            Task::InheritCheck => {
                if Self::record_stands(state, &flight) {
                    self.load()
                } else {
                    Self::without_fence(&mut flight)
                }
            }
            Task::Look => {
                self.seal(state, &mut flight);
                match state.store.record {
                    Some(record) if record.tag.is_some() => Task::LookTag(record),
                    record => self.prepare(&mut flight, self.classify(record, None)),
                }
            }
            Task::LookTag(record) => {
                let tag = self.recall_tag(state, process);
                self.prepare(&mut flight, self.classify(Some(record), tag))
            }
            Task::Pause => match flight.precondition {
                None => Task::Look,
                Some(_) => self.capture_for(Purpose::Acquire),
            },
            Task::Source => {
                flight.outcome = Some(Landing::Value(Value { seen: state.begun }));
                self.loaded()
            }
            Task::Fill => self.fill(state, &mut flight),
            Task::Filled(version) => match flight.outcome {
                Some(landing @ Landing::Value(value)) => {
                    let tag = flight.tag;
                    let copied = Copied { version, tag, value };
                    // This changes the stamp for the flight itself too, as for everything else in the process.
                    state.flights[slot] = Some(flight);
                    self.keep_own(state, process, copied, flight.slot_unchanged);
                    self.share(state, slot, landing)
                }
                _ => Task::Land(Landing::LookAgain),
            },
            Task::Share(landing) => self.share(state, slot, landing),
            Task::LandUnlessWaitedFor(landing) => {
                let waited_for = state.waiting(slot).next().is_some();
                self.land(state, slot, if waited_for { Landing::LookAgain } else { landing });
                return;
            }
            Task::ErrorRecord => {
                if !Self::record_stands(state, &flight) {
                    Task::Withdraw(Landing::Error)
                } else if flight.stale.is_some_and(|stale| stale.tag.is_some()) {
                    Task::ErrorTag
                } else {
                    Self::fall_back(&mut flight)
                }
            }
            Task::ErrorTag => {
                if Self::hard_half_stands(state, &flight) {
                    Self::fall_back(&mut flight)
                } else {
                    Task::Withdraw(Landing::Error)
                }
            }
            Task::Withdraw(landing) => self.withdraw(state, &mut flight, landing),
            Task::Recheck(landing) => {
                self.read_tag(state, process);
                self.recheck(state, &flight, landing)
            }
            Task::Land(landing) => {
                self.land(state, slot, landing);
                return;
            }
        };
        // The change stamp is taken before the fill.
        flight.slot_unchanged |= flight.task == Task::Fill && last != Task::Fill;
        state.flights[slot] = Some(flight);
    }

    fn seal(&self, state: &State, flight: &mut Flight) {
        flight.sealed_for = state.active(&self.config, flight.process);
    }

    fn record_stands(state: &State, flight: &Flight) -> bool {
        let expected = match flight.fence {
            Some(Fence::Record { record, .. }) => Some(record),
            _ => None,
        };
        expected.is_some() && state.store.record.map(|record| record.version) == expected
    }

    fn hard_half_stands(state: &State, flight: &Flight) -> bool {
        let Some(own) = flight.stale.and_then(|stale| stale.tag) else {
            return true;
        };
        state.store.tag.is_some_and(|tag| tag.hard == own.hard)
    }

    fn prepare(&self, flight: &mut Flight, seen: Read) -> Task {
        let landing = match seen {
            Read::Fresh(copied) => Landing::Value(copied.value),
            Read::Usable(stale, _) => Landing::Stale(stale.value),
            Read::Missing(precondition, stale) => {
                flight.stale = stale;
                return if flight.precondition.replace(precondition) == Some(precondition) {
                    Task::Pause
                } else {
                    self.capture_for(Purpose::Acquire)
                };
            }
            Read::Leased => {
                flight.precondition = None;
                return Task::Pause;
            }
        };
        flight.outcome = Some(landing);
        Task::Land(landing)
    }

    pub(crate) fn fail(&self, state: &mut State, slot: usize) {
        state.budget.failures -= 1;
        let failed_after = state.hard(state.returned);
        let Some(flight) = &mut state.flights[slot] else { return };
        flight.failed_after = failed_after;
        flight.outcome = Some(Landing::Error);
        flight.task = match (flight.stale, flight.fence) {
            (Some(_), Some(Fence::Record { .. })) if self.config.is(Flaw::ErrorUnchecked) => Self::fall_back(flight),
            (Some(_), Some(Fence::Record { .. })) => Task::ErrorRecord,
            _ => Task::Withdraw(Landing::Error),
        };
    }

    fn fall_back(flight: &mut Flight) -> Task {
        match flight.stale {
            Some(stale) => {
                flight.outcome = Some(Landing::Stale(stale.value));
                Task::Withdraw(Landing::Stale(stale.value))
            }
            None => Task::Withdraw(Landing::Error),
        }
    }

    pub(crate) fn keep_unstored(&self, state: &mut State, slot: usize) {
        if let Some(flight) = &mut state.flights[slot]
            && let Some(landing) = flight.outcome
        {
            flight.task = Task::Withdraw(landing);
        }
    }

    fn fill(&self, state: &mut State, flight: &mut Flight) -> Task {
        self.seal(state, flight);
        let Some((write, value)) = self.write_under_way(flight).zip(flight.loaded()) else {
            return Task::Land(Landing::LookAgain);
        };
        let found = state.store.record.map(|record| record.version);
        let stands = matches!(write.mode, Mode::IfVersion(version) if found == Some(version));
        // The lease beside a record is released in the background: it may expire from now on.
        flight.fence = None;
        if !stands && !self.config.is(Flaw::PlainFill) {
            return Task::Land(if self.config.is(Flaw::NoLookAgain) {
                Landing::Value(value)
            } else {
                Landing::LookAgain
            });
        }
        Task::Filled(state.write_record(write.record.tag, write.record.body))
    }

    /// Returns the task that leads to `landing`. If nobody waits, nobody could get an outdated value, and the tag is
    /// not read again.
    fn share(&self, state: &State, slot: usize, landing: Landing) -> Task {
        if !self.config.tagged() || self.config.is(Flaw::NoRecheck) {
            Task::Land(landing)
        } else if state.waiting(slot).next().is_some() {
            Task::Recheck(landing)
        } else if self.config.is(Flaw::UnwaitedLandsLater) {
            Task::Land(landing)
        } else {
            Task::LandUnlessWaitedFor(landing)
        }
    }

    fn withdraw(&self, state: &mut State, flight: &mut Flight, landing: Landing) -> Task {
        self.seal(state, flight);
        let stood = match flight.fence {
            Some(Fence::Lease(lease)) => {
                let stood = state.store.record.is_some_and(|record| record.version == lease);
                if stood {
                    state.store.record = None;
                }
                stood
            }
            _ => Self::record_stands(state, flight),
        };
        flight.fence = None;
        match landing {
            Landing::Value(_) | Landing::Stale(_) if !stood => Task::Land(Landing::LookAgain),
            Landing::Value(_) | Landing::Stale(_) if self.config.tagged() => Task::Share(landing),
            landing => Task::Land(landing),
        }
    }

    fn recheck(&self, state: &State, flight: &Flight, landing: Landing) -> Task {
        let own = flight.tag.is_none() || flight.tag == state.store.tag;
        let copy = match landing {
            Landing::Stale(_) if !self.config.is(Flaw::ErrorRecheckedByLoad) => Self::hard_half_stands(state, flight),
            _ => true,
        };
        Task::Land(if own && copy { landing } else { Landing::LookAgain })
    }

    /// Ends the flight: each waiting reader gets the outcome or reads again, and the leader gets its own outcome.
    fn land(&self, state: &mut State, slot: usize, landing: Landing) {
        let Some(flight) = state.flights[slot].take() else {
            return;
        };
        let waiting: Vec<usize> = state.waiting(slot).collect();
        for reader in waiting {
            let sealed_out = flight.sealed_for & 1 << reader == 0 && !self.config.is(Flaw::NoSeal);
            if !flight.in_map || sealed_out {
                state.go_on(reader, At::Read);
            } else {
                Self::give(state, reader, &flight, landing);
            }
        }
        if let Leader::Reader(leader) = flight.leader {
            Self::give(
                state,
                usize::from(leader),
                &flight,
                flight.outcome.unwrap_or(Landing::LookAgain),
            );
        }
    }

    fn give(state: &mut State, reader: usize, flight: &Flight, landing: Landing) {
        match landing {
            Landing::Value(value) => {
                state.answer(reader, value, false);
            }
            Landing::Stale(value) => {
                state.answer(reader, value, true);
                state.judge(value, flight.failed_after, flight.failed_after);
            }
            Landing::Error => state.readers[reader] = Reader::Done,
            Landing::LookAgain => state.go_on(reader, At::Read),
        }
    }

    /// Cancels the leader, which leaves the lead to a waiting reader.
    pub(crate) fn leave(&self, state: &mut State, slot: usize, sent: bool) {
        let Some(mut flight) = state.flights[slot] else { return };
        state.budget.departures -= 1;
        if sent {
            state.limbo = self.write_under_way(&flight);
        }
        if let Leader::Reader(reader) = flight.leader {
            state.readers[usize::from(reader)] = Reader::Done;
        }
        if flight.task == Task::CheckRecord {
            // The lease is not the leader's yet: it is released in the background.
            flight.fence = None;
        }
        flight.leader = Leader::Nobody;
        flight.task = Task::Vacant;
        flight.outcome = None;
        flight.stale = None;
        flight.precondition = None;
        flight.tag = None;
        flight.began = None;
        let waited_for = state.waiting(slot).next().is_some();
        state.flights[slot] = Some(flight);
        if !flight.in_map {
            self.land(state, slot, Landing::LookAgain);
        } else if !waited_for {
            state.flights[slot] = None;
        }
    }
}
