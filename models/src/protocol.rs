//! The protocol: what each step does.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Mutex;

use stateright::{Model, Property};

use crate::action::Action;
use crate::config::{Budget, Config, Flaw, Start, Tagging};
use crate::state::{
    At, Body, Copied, Fence, Flight, Invalidation, Limbo, Mode, Near, Page, Pair, Precondition, Read, Reader, Record,
    Sequence, Stale, State, Step, Store, Task, Value, Version,
};
use crate::state::{Broken, INVALIDATIONS, PROCESSES, READERS};

/// The protocol, for one key.
#[derive(Debug)]
pub struct Protocol {
    pub(crate) config: Config,
    /// The fingerprints of states from which everything comes to rest.
    restful: Mutex<HashSet<u64>>,
}

impl Protocol {
    /// Creates the part of the protocol that `config` selects.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            restful: Mutex::default(),
        }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn processes(&self) -> u8 {
        PROCESSES as u8
    }

    fn initial(&self, start: Start, invalidations: [Option<Invalidation>; INVALIDATIONS]) -> State {
        let tag = (self.config.tagged() && start != Start::Empty).then_some(Pair { hard: 1, soft: 2 });
        let late = self.config.tagging == Tagging::Late;
        let value = Value { seen: 0 };
        let body = match start {
            Start::Empty | Start::Tags => None,
            Start::Fresh => Some(Body::Fresh(value)),
            Start::Old => Some(Body::Old(value)),
        };
        let mut readers = [Reader::Done; READERS];
        readers[..self.config.readers.len()].fill(Reader::Idle);
        State {
            store: Store {
                record: body.map(|body| Record { version: 1, tag, body }),
                beside: None,
                tag,
                sequence: (late && start != Start::Empty).then_some(Sequence {
                    id: 1,
                    number: 1,
                    used: true,
                }),
                page: (late && start != Start::Empty).then_some(Page {
                    version: 1,
                    id: 1,
                    last: Some(0),
                }),
            },
            readers,
            flights: [None; READERS],
            invalidations,
            begun: 0,
            returned: 0,
            near: Default::default(),
            limbo: None,
            budget: self.config.budget,
            broken: Broken::default(),
        }
    }

    /// Returns what a read of `record`, and then of its tag, results in.
    pub(crate) fn classify(&self, record: Option<Record>, tag: Option<Pair>) -> Read {
        let Some(Record {
            version,
            tag: own,
            body,
        }) = record
        else {
            return Read::Missing(Precondition::Nothing, None);
        };
        let (gone, outdated) = match (own, tag) {
            (None, _) => (false, false),
            (Some(own), Some(tag)) => (own.hard != tag.hard, own.soft != tag.soft),
            (Some(_), None) => (true, true),
        };
        let (value, fresh) = match body {
            Body::Lease if gone || outdated => return Read::Missing(Precondition::Lease(version), None),
            Body::Lease => return Read::Leased,
            _ if gone => return Read::Missing(Precondition::Record(version), None),
            Body::Fresh(value) => (value, !outdated),
            Body::Old(value) => (value, false),
        };
        let stale = Stale { value, tag: own };
        if fresh {
            Read::Fresh(Copied {
                version,
                tag: own,
                value,
            })
        } else if self.config.while_revalidate {
            Read::Usable(stale, version)
        } else {
            Read::Missing(Precondition::Record(version), Some(stale))
        }
    }

    /// Returns whether a leader that waits to replace `precondition` would have to wait again after another read.
    pub(crate) fn waits_still(&self, state: &State, precondition: Option<Precondition>) -> bool {
        match precondition {
            None => self.classify(state.store.record, state.store.tag) == Read::Leased,
            Some(Precondition::Record(version)) => {
                self.beside_stands(state, version) && state.store.record.is_some_and(|record| record.version == version)
            }
            Some(_) => false,
        }
    }

    /// Returns whether there is a lease beside the record of version `of` that is not overtaken: its tag was not
    /// invalidated, and that record is not later than the one that the lease was written beside.
    pub(crate) fn beside_stands(&self, state: &State, of: Version) -> bool {
        let is_there = state.store.record.is_some_and(|record| record.version == of);
        state.store.beside.is_some_and(|beside| {
            let later = match self.config.flaw {
                Some(Flaw::OvertakenByEarlier) => beside.of != of,
                Some(Flaw::NeverOvertaken) => false,
                _ => beside.of != of && is_there,
            };
            !later && (beside.tag.is_none() || beside.tag == state.store.tag)
        })
    }

    /// Returns whether a leader waits for a lease whose holder's record was replaced.
    fn waits_in_vain(&self, state: &State) -> bool {
        let Some(beside) = state.store.beside else { return false };
        let overtaken = |holder: &Flight| {
            holder.lost && matches!(holder.fence, Some(Fence::Record { lease, .. }) if lease == beside.version)
        };
        let waits = |flight: &Flight| flight.task == Task::Pause && self.waits_still(state, flight.precondition);
        let flights = || state.flights.iter().flatten();
        flights().any(overtaken) && flights().any(waits)
    }

    pub(crate) fn takes_steps(&self, reader: &Reader) -> bool {
        matches!(reader, Reader::Active { at, .. } if !matches!(at, At::Wait(..) | At::Lead(_)))
    }

    /// Returns whether a leader relies on the lease of this version.
    pub(crate) fn is_held(&self, state: &State, lease: Version) -> bool {
        state.flights.iter().flatten().any(|flight| match flight.fence {
            Some(Fence::Lease(own) | Fence::Record { lease: own, .. }) => own == lease,
            None => false,
        })
    }

    /// Returns whether the lease of the flight is in the store.
    pub(crate) fn fence_stands_by_lease(&self, state: &State, flight: &Flight) -> bool {
        match flight.fence {
            Some(Fence::Lease(lease)) => state.store.record.is_some_and(|record| record.version == lease),
            Some(Fence::Record { lease, .. }) => state.store.beside.is_some_and(|beside| beside.version == lease),
            None => false,
        }
    }

    /// Returns the write that the flight is about to do.
    pub(crate) fn write_under_way(&self, flight: &Flight) -> Option<Limbo> {
        let record = |body, tag| Record { version: 0, tag, body };
        match flight.task {
            Task::Acquire => {
                let mode = match flight.precondition? {
                    Precondition::Nothing => Mode::IfAbsent,
                    Precondition::Lease(version) => Mode::IfVersion(version),
                    // A late lease beside a record blocks nobody for longer than the lease of a leader that is gone.
                    Precondition::Record(_) => return None,
                };
                Some(Limbo {
                    mode,
                    record: record(Body::Lease, self.tag_of_lease(flight)),
                })
            }
            Task::Fill => {
                let (Fence::Lease(version) | Fence::Record { record: version, .. }) = flight.fence?;
                Some(Limbo {
                    mode: Mode::IfVersion(version),
                    record: record(Body::Fresh(flight.loaded()?), flight.tag),
                })
            }
            _ => None,
        }
    }

    /// Returns the tag that the lease of the flight carries.
    pub(crate) fn tag_of_lease(&self, flight: &Flight) -> Option<Pair> {
        flight.tag.filter(|_| self.config.tagging == Tagging::Declared)
    }

    pub(crate) fn is_busy(&self, state: &State, process: u8) -> bool {
        state.active(&self.config, process) != 0
            || state.flights.iter().flatten().any(|flight| flight.process == process)
            || state
                .invalidations
                .iter()
                .flatten()
                .any(|it| it.process == process && !matches!(it.step, Step::Idle | Step::Over | Step::Broken))
    }

    /// Returns whether nothing is under way, and no lease is in the store.
    pub fn is_at_rest(&self, state: &State) -> bool {
        let lease = state.store.record.is_some_and(|record| record.body == Body::Lease);
        !lease
            && state.store.beside.is_none()
            && state.limbo.is_none()
            && (0..self.processes()).all(|process| !self.is_busy(state, process))
            && state.near.iter().all(Near::is_at_rest)
    }

    /// Returns whether everything comes to rest from here if nothing new begins and there are no more faults.
    fn comes_to_rest(&self, state: &State) -> bool {
        let hash = BuildHasherDefault::<DefaultHasher>::default();
        let mut path = Vec::new();
        let mut actions = Vec::new();
        let mut next = None;
        loop {
            let current = next.as_ref().unwrap_or(state);
            let fingerprint = hash.hash_one(current);
            let known = self.restful.lock().is_ok_and(|known| known.contains(&fingerprint));
            if known {
                break;
            }
            // A cycle never comes to rest.
            if path.contains(&fingerprint) {
                return false;
            }
            path.push(fingerprint);
            actions.clear();
            self.going_on(current, &mut actions);
            let Some(action) = actions.first() else {
                if self.is_at_rest(current) {
                    break;
                }
                return false;
            };
            next = self.next_state(current, *action);
        }
        if let Ok(mut known) = self.restful.lock() {
            known.extend(path);
        }
        true
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let processes = match self.config.readers.iter().max() {
            Some(most) if !self.config.near => most + 1,
            _ => self.processes(),
        };
        let choices: Vec<Invalidation> = self
            .config
            .kinds
            .iter()
            .flat_map(|kind| (0..processes).map(move |process| (*kind, process)))
            .map(|(kind, process)| Invalidation {
                kind,
                process,
                step: Step::Idle,
                slot_unchanged: true,
            })
            .collect();
        let mut sets = vec![[None; INVALIDATIONS]];
        if self.config.invalidations == 1 {
            sets = choices.iter().map(|one| [Some(*one), None]).collect();
        } else if self.config.invalidations == 2 {
            // The order of the two does not matter.
            let pairs = choices.iter().enumerate();
            sets = pairs
                .flat_map(|(at, one)| choices[at..].iter().map(|other| [Some(*one), Some(*other)]))
                .collect();
        }
        sets.iter()
            .flat_map(|set| self.config.starts.iter().map(|start| self.initial(*start, *set)))
            .collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.going_on(state, actions);
        self.coming_up(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Reader(reader) => self.reader(&mut state, usize::from(reader)),
            Action::Flight(slot) => self.flight(&mut state, usize::from(slot)),
            Action::Fail(slot) => self.fail(&mut state, usize::from(slot)),
            Action::Unstored(slot) => self.keep_unstored(&mut state, usize::from(slot)),
            Action::Renew(slot) => self.renew(&mut state, usize::from(slot)),
            Action::TakeLead { reader, slot } => self.take_lead(&mut state, reader, slot),
            Action::Leave { slot, sent } => self.leave(&mut state, usize::from(slot), sent),
            Action::Invalidate(index) => self.invalidate(&mut state, usize::from(index)),
            Action::Deliver { process, both } => self.deliver(&mut state, process, both),
            Action::Check { process, index } => self.check(&mut state, process, usize::from(index)),
            Action::Arrive => self.arrive(&mut state),
            Action::Expire => {
                if let Some(lease) = state.store.record.take() {
                    state.lose(lease.version);
                }
            }
            Action::ExpireBeside => {
                if let Some(lease) = state.store.beside.take() {
                    state.lose(lease.version);
                }
            }
            Action::Age => {
                state.budget.ages -= 1;
                if let Some(record) = &mut state.store.record
                    && let Body::Fresh(value) = record.body
                {
                    record.body = Body::Old(value);
                }
            }
            Action::LoseTag => {
                state.budget.losses -= 1;
                state.store.tag = None;
            }
            Action::LoseSequence => {
                state.budget.losses -= 1;
                state.store.sequence = None;
            }
            Action::LosePage => {
                match &mut state.budget {
                    Budget { pages: 0, losses, .. } => *losses -= 1,
                    Budget { pages, .. } => *pages -= 1,
                }
                state.store.page = None;
            }
            Action::Crash { process, sent } => self.crash(&mut state, process, sent),
        }
        self.count_holders(&mut state);
        self.notify(last, &mut state);
        state.renumber();
        Some(state)
    }

    fn format_action(&self, action: &Action) -> String {
        format!("{action:?}")
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_OLD_VALUE, |_, state: &State| !state.broken.old),
            Property::always(NO_RESURRECTION, |_, state: &State| !state.broken.resurrected),
            Property::always(NEAR_IS_IN_STEP, |_, state: &State| !state.broken.near_astray),
            Property::always(ONE_HOLDER, |_, state: &State| !state.broken.two_holders),
            Property::always(NO_OVERTAKEN_HOLDER, |model: &Self, state: &State| {
                !model.waits_in_vain(state)
            }),
            Property::always(COMES_TO_REST, |model: &Self, state: &State| model.comes_to_rest(state)),
            Property::sometimes(IT_ENDS, |model: &Self, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                actions.is_empty()
            }),
        ]
    }
}

/// After an invalidation has returned, no reader that begins gets a value whose load began before the invalidation.
pub const NO_OLD_VALUE: &str = "no value from before an invalidation";
/// The same for hard invalidations, stale copies included.
pub const NO_RESURRECTION: &str = "nothing resurrects what a hard invalidation removed";
/// A near copy equals the store, unless a change is still to be reported to its process.
pub const NEAR_IS_IN_STEP: &str = "a near copy is what is in the store, once all was told";
/// At most one leader loads under a lease that neither time nor an invalidation has ended.
pub const ONE_HOLDER: &str = "one holder of a lease";
/// Nobody waits for a lease beside a record if its holder was to replace an earlier record.
pub const NO_OVERTAKEN_HOLDER: &str = "an overtaken lease holds up nobody";
/// From every state, if nothing new begins, every reader is answered and no lease remains.
pub const COMES_TO_REST: &str = "all comes to rest";
/// A final state can be reached. Otherwise the other properties would mean nothing.
pub const IT_ENDS: &str = "there is an end";

impl Protocol {
    fn count_holders(&self, state: &mut State) {
        let loads = |flight: &&Flight| {
            matches!(
                flight.task,
                Task::Source | Task::Fill | Task::Tag(_) | Task::BeginTag(_) | Task::CheckSequence | Task::CheckPage
            ) && flight.fence.is_some()
                && !flight.lost
                && (self.tag_of_lease(flight).is_none() || flight.tag == state.store.tag)
        };
        state.broken.two_holders |= state.flights.iter().flatten().filter(loads).count() > 1;
    }

    fn arrive(&self, state: &mut State) {
        let Some(Limbo { mode, record }) = state.limbo.take() else {
            return;
        };
        let found = state.store.record.map(|record| record.version);
        let holds = match mode {
            Mode::IfAbsent => found.is_none(),
            Mode::IfVersion(version) => found == Some(version),
        };
        if holds || self.writes_whatever_there_is(&record) {
            if let Some(found) = found {
                state.lose(found);
            }
            let version = state.new_version();
            state.store.record = Some(Record { version, ..record });
        }
    }

    fn writes_whatever_there_is(&self, record: &Record) -> bool {
        match record.body {
            Body::Lease => self.config.is(Flaw::PlainLease),
            _ => self.config.is(Flaw::PlainFill),
        }
    }

    fn crash(&self, state: &mut State, process: u8, sent: Option<u8>) {
        state.budget = Budget {
            crashes: state.budget.crashes - 1,
            ..state.budget
        };
        if let Some(flight) = sent.and_then(|slot| state.flights[usize::from(slot)]) {
            state.limbo = self.write_under_way(&flight);
        }
        for (reader, of) in self.config.readers.iter().enumerate() {
            if *of == process && state.readers[reader] != Reader::Idle {
                state.readers[reader] = Reader::Done;
            }
        }
        for flight in &mut state.flights {
            if flight.is_some_and(|flight| flight.process == process) {
                *flight = None;
            }
        }
        let done = state.done();
        for (index, invalidation) in state.invalidations.iter_mut().enumerate() {
            if let Some(invalidation) = invalidation
                && invalidation.process == process
                && invalidation.step != Step::Idle
            {
                let is_done = done & 1 << index != 0;
                invalidation.step = if is_done { Step::Over } else { Step::Broken };
            }
        }
        // The changes that are no longer reported to it do no harm, because its copies are gone too.
        let near = &mut state.near[usize::from(process)];
        *near = Near {
            told: near.told,
            ..Near::default()
        };
    }
}
