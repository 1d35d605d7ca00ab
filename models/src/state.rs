//! The state of the model: the store, the processes' flights and near copies, and the readers and invalidations.

use std::fmt;

use crate::config::{Budget, Config, Kind};

/// The largest number of readers. Each leads at most one flight.
pub const READERS: usize = 3;
/// The largest number of invalidations.
pub const INVALIDATIONS: usize = 2;
/// The largest number of processes.
pub const PROCESSES: usize = 2;

/// A set of invalidations or of readers.
pub type Set = u8;

/// A version. Only equality matters: versions are renumbered after every step, so that states that differ only in the
/// numbers are one.
pub type Version = u8;

/// What a tag's record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Changed by hard invalidations.
    pub hard: Version,
    /// Changed by every invalidation.
    pub soft: Version,
}

/// A loaded value. All that matters is which invalidations it reflects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The invalidations that had begun when its load read the source.
    pub seen: Set,
}

/// A value past its freshness, retained in case a load fails or takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stale {
    /// The value.
    pub value: Value,
    /// The tag that it carries.
    pub tag: Option<Pair>,
}

/// A near copy of a record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Copied {
    /// The version of the record.
    pub version: Version,
    /// The tag that it carries.
    pub tag: Option<Pair>,
    /// Its value.
    pub value: Value,
}

/// The contents of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Body {
    /// A lease: a leader is loading.
    Lease,
    /// A value that is fresh, unless its tag was invalidated.
    Fresh(Value),
    /// A value past its freshness.
    Old(Value),
}

/// The record under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// Its version.
    pub version: Version,
    /// The tag that it carries.
    pub tag: Option<Pair>,
    /// Its contents.
    pub body: Body,
}

/// A lease beside a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Beside {
    /// Its version.
    pub version: Version,
    /// The version of the record that it was written beside.
    pub of: Version,
    /// The tag that it carries.
    pub tag: Option<Pair>,
}

/// The condition of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// There is no record.
    IfAbsent,
    /// The record still has this version.
    IfVersion(Version),
}

/// The sequence that orders loads and invalidations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// The id of the sequence. Each new sequence has another.
    pub id: Version,
    /// The current number.
    pub number: u8,
    /// Whether an invalidation has used this number.
    pub used: bool,
}

impl Sequence {
    /// Returns the sequence with the next number, which no invalidation has used.
    pub(crate) fn next(self) -> Self {
        Self {
            number: self.number + 1,
            used: false,
            ..self
        }
    }

    /// Returns the sequence with its number marked as used.
    pub(crate) fn used(self) -> Self {
        Self { used: true, ..self }
    }

    pub(crate) fn began(self) -> Began {
        Began {
            id: self.id,
            number: self.number,
        }
    }
}

/// The point in the sequence at which a load began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Began {
    /// The id of the sequence.
    pub id: Version,
    /// The number in it.
    pub number: u8,
}

/// The page on which the tag's slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    /// Its version.
    pub version: Version,
    /// The id of the sequence.
    pub id: Version,
    /// The highest number of an invalidation of the tag, or `None` if it is not known.
    pub last: Option<u8>,
}

/// The whole store: one key, the lease beside its record, one tag, and the records for late tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Store {
    /// The record under the key.
    pub record: Option<Record>,
    /// The lease beside a stale record.
    pub beside: Option<Beside>,
    /// The tag's record.
    pub tag: Option<Pair>,
    /// The sequence of loads that learn their tags late, and of invalidations.
    pub sequence: Option<Sequence>,
    /// The tag's page.
    pub page: Option<Page>,
}

/// A write whose sender is gone, and that the store may still carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limbo {
    /// The condition of the write.
    pub mode: Mode,
    /// What it writes. The version is assigned when it is written.
    pub record: Record,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Read {
    /// A fresh value.
    Fresh(Copied),
    /// A stale value, to be returned while it is refreshed.
    Usable(Stale, Version),
    /// Nothing to answer with, except perhaps this stale value if the load fails.
    Missing(Precondition, Option<Stale>),
    /// A lease: a leader is loading.
    Leased,
}

/// What a load is about to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precondition {
    /// Nothing is there.
    Nothing,
    /// A stale record, or one whose tag was invalidated.
    Record(Version),
    /// The lease of a load whose tag was invalidated.
    Lease(Version),
}

/// What a fill is conditional on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fence {
    /// A lease under the key.
    Lease(Version),
    /// A record, and a lease beside it.
    Record {
        /// The version of the record.
        record: Version,
        /// The version of the lease.
        lease: Version,
    },
}

/// A reader of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reader {
    /// It has not begun.
    Idle,
    /// It has begun.
    Active {
        /// The invalidations that had returned when it began. It must not get a value from before them.
        must: Set,
        /// Whether the change stamp of its process is what it was when it last began to read.
        slot_unchanged: bool,
        /// What it does next.
        at: At,
    },
    /// It has its answer, or was cancelled.
    Done,
}

/// What a reader does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    /// Reads the record.
    Read,
    /// Has read the record, and reads its tag.
    ReadTag(Record),
    /// Has read this, and decides what to do.
    Join(Read),
    /// Waits for the flight in this slot. The stale copy is what it read before.
    Wait(u8, Option<Stale>),
    /// Leads the flight in this slot.
    Lead(u8),
    /// Has its answer, and stores a near copy.
    Insert(Copied),
    /// Has stored a near copy, and checks whether that was allowed. (Only if a [`Flaw`](crate::Flaw) makes it a step.)
    TakeOut,
}

/// The leader of a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leader {
    /// The leader was cancelled, and there is no successor yet.
    Nobody,
    /// This reader.
    Reader(u8),
    /// A refresh in the background.
    Background,
}

/// What a flight lands with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Landing {
    /// A value that is fresh as far as is known.
    Value(Value),
    /// A stale value.
    Stale(Value),
    /// The failure of the load.
    Error,
    /// Nothing: the waiting readers read again.
    LookAgain,
}

/// What is to be done after a tag was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Acquire a lease.
    Acquire,
    /// Take over a predecessor's lease.
    Inherit,
    /// Read the source.
    Source,
    /// Store the value.
    Fill,
}

/// What the leader of a flight does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// There is no leader.
    Vacant,
    /// Reads the sequence, before the load.
    Begin(Purpose),
    /// Advances the sequence from here, because its number is used.
    MoveOn(Purpose, Sequence),
    /// Found no sequence, and writes the page of a new one.
    BeginPage(Purpose),
    /// Has written the page of a new sequence with this id, and begins that sequence.
    BeginSequence(Purpose, Version),
    /// Reads the tag's record.
    Tag(Purpose),
    /// Found no record of the tag, and creates it.
    BeginTag(Purpose),
    /// Writes its lease.
    Acquire,
    /// Has a lease beside a record, and checks whether the record is still the same.
    CheckRecord,
    /// Renews the lease that it inherits.
    Inherit,
    /// Has renewed a lease beside a record, and checks whether the record is still the same.
    InheritCheck,
    /// Seals the flight and reads the record.
    Look,
    /// As `Look`, but has read the record, and reads its tag.
    LookTag(Record),
    /// Waits for the holder of another lease.
    Pause,
    /// Reads the source.
    Source,
    /// Reads the sequence, to check whether it is the one that the load began with.
    CheckSequence,
    /// Reads the page, to check whether the tag was invalidated since the load began.
    CheckPage,
    /// Has found no usable page, and writes "not known" over the version that it found.
    WriteUnknown(Option<Version>),
    /// The page of this version says "not known". Reads the sequence.
    FindOut(Version),
    /// Writes the number that is known now over that version of the page.
    WriteKnown(Version, Sequence),
    /// Marks the number that it has written on the page as used.
    MarkUsed(Sequence),
    /// Seals the flight and stores the value.
    Fill,
    /// Has stored the value as this version, and stores a near copy.
    Filled(Version),
    /// Checks whether anybody waits, and then lands with this.
    Share(Landing),
    /// Nobody was waiting: lands with this, unless a reader waits by now.
    LandUnlessWaitedFor(Landing),
    /// The load failed: checks whether the stale copy is still in the store.
    ErrorRecord,
    /// The load failed: checks whether the stale copy's tag still permits it.
    ErrorTag,
    /// Seals the flight and releases the lease, and then lands with this.
    Withdraw(Landing),
    /// Reads the tag again, and lands with this if the tag has not changed.
    Recheck(Landing),
    /// Lands with this.
    Land(Landing),
}

/// A flight: a load, and the readers in its process that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flight {
    /// The process that it is in.
    pub process: u8,
    /// Whether it can be joined: no invalidation of this process has detached it.
    pub in_map: bool,
    /// Its leader.
    pub leader: Leader,
    /// The readers that began before it was last sealed.
    pub sealed_for: Set,
    /// What its leader does next.
    pub task: Task,
    /// What it is about to replace, if that is known.
    pub precondition: Option<Precondition>,
    /// The stale copy to fall back to.
    pub stale: Option<Stale>,
    /// What the fill is conditional on.
    pub fence: Option<Fence>,
    /// The snapshot of the tag.
    pub tag: Option<Pair>,
    /// The point in the sequence at which it began.
    pub began: Option<Began>,
    /// What its leader gets, whatever the waiting readers get.
    pub outcome: Option<Landing>,
    /// The hard invalidations that had returned when the load failed.
    pub failed_after: Set,
    /// Whether the change stamp of its process is what it was just before the fill.
    pub slot_unchanged: bool,
    /// Whether it has lost its fence: the lease has expired or was taken over, or an invalidation removed it.
    pub lost: bool,
}

/// What an invalidation does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// It has not begun.
    Idle,
    /// Its first step is done.
    First,
    /// Has read the record, and invalidates it softly.
    Marks(Option<Record>),
    /// Has read the sequence, and reads the page.
    ReadsPage(Sequence),
    /// Has read the page first, and reads the sequence.
    ReadsSequence(Option<Page>),
    /// Has read both, and writes the number on the page.
    Notes(Sequence, Option<Page>),
    /// Has written the number on the page, and marks it as used.
    MarksUsed(Sequence),
    /// Has rewritten the tag's record first, and reads the sequence. (Only if a [`Flaw`](crate::Flaw) puts this last.)
    NotesLast,
    /// Has read the tag's record.
    Rewrites(Option<Pair>),
    /// Has taken a snapshot of the tag, and writes the value that its caller had at that time.
    Writes(Option<Pair>, Set),
    /// Has written this value, and stores a near copy.
    Keeps(Copied),
    /// Has changed the record, and removes the near copy.
    Forgets,
    /// Has removed the near copy, and changes the change stamp. (Only if a [`Flaw`](crate::Flaw) makes this a step.)
    Moves,
    /// Its writes are done, and it returns.
    Returns,
    /// It has returned, or its process has crashed after its writes were done.
    Over,
    /// Its process has crashed before its writes were done.
    Broken,
}

/// An invalidation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Invalidation {
    /// What it invalidates, and how.
    pub kind: Kind,
    /// The process that it runs in.
    pub process: u8,
    /// What it does next.
    pub step: Step,
    /// Whether the change stamp of its process is what it was just before its write.
    pub slot_unchanged: bool,
}

/// The largest number of copies of a process that are compared with the store at a time. A change that would add one
/// more is delivered later.
pub const CHECKS: usize = 2;

/// A copy that is put back if it still equals the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// Takes the change stamp, and reads the version in the store.
    Asks(Copied),
    /// The store has this version, and the change stamp has not changed since.
    Same(Copied),
}

/// A change that is still to be reported to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Change {
    /// Whether it is a change of the tag's record, and not of the key's.
    pub of_tag: bool,
    /// The invalidations whose writes were done by then.
    pub tells: Set,
}

/// The near tier of a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Near {
    /// The copy.
    pub copy: Option<Copied>,
    /// The version that the process wrote last, if that change is still to be reported.
    pub own: Option<Version>,
    /// The versions of the tag that it remembers.
    pub memo: Option<Pair>,
    /// The copies that are being compared with the store.
    pub checks: [Option<Check>; CHECKS],
    /// The changes that are still to be reported to it.
    pub queue: Vec<Change>,
    /// The invalidations that were reported to it.
    pub told: Set,
}

/// The violations found so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Broken {
    /// A reader got a value whose load began before an invalidation that had returned when the reader began.
    pub old: bool,
    /// As `old`, and the invalidation was hard.
    pub resurrected: bool,
    /// Two leaders load at once, each under a lease that neither time nor an invalidation has ended.
    pub two_holders: bool,
    /// A process has a copy that differs from the store, and no change is left to be reported to it.
    pub near_astray: bool,
}

/// The whole state of the model.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The store.
    pub store: Store,
    /// The readers.
    pub readers: [Reader; READERS],
    /// The flights, each in the slot of the reader that began it.
    pub flights: [Option<Flight>; READERS],
    /// The invalidations. `None` is one that is over.
    pub invalidations: [Option<Invalidation>; INVALIDATIONS],
    /// The invalidations that have begun.
    pub begun: Set,
    /// The invalidations that have returned.
    pub returned: Set,
    /// The near tier of each process.
    pub near: [Near; PROCESSES],
    /// A write under way whose sender is gone.
    pub limbo: Option<Limbo>,
    /// How often each fault may still happen.
    pub budget: Budget,
    /// The violations found so far.
    pub broken: Broken,
}

impl State {
    /// Returns the flight of `process` that a new caller would join.
    pub(crate) fn flight_in_map(&self, process: u8) -> Option<usize> {
        self.flights
            .iter()
            .position(|flight| flight.is_some_and(|flight| flight.process == process && flight.in_map))
    }

    /// Returns the readers that wait for the flight in `slot`.
    pub(crate) fn waiting(&self, slot: usize) -> impl Iterator<Item = usize> + '_ {
        self.readers
            .iter()
            .enumerate()
            .filter_map(move |(reader, state)| match state {
                Reader::Active {
                    at: At::Wait(on, _), ..
                } if usize::from(*on) == slot => Some(reader),
                _ => None,
            })
    }

    /// Returns the active readers of `process`.
    pub(crate) fn active(&self, config: &Config, process: u8) -> Set {
        let readers = self.readers.iter().zip(config.readers).enumerate();
        readers.fold(0, |set, (reader, (state, of))| {
            if *of == process && matches!(state, Reader::Active { .. }) {
                set | 1 << reader
            } else {
                set
            }
        })
    }

    /// Returns the invalidations whose writes are done.
    pub(crate) fn done(&self) -> Set {
        let invalidations = self.invalidations.iter().enumerate();
        invalidations.fold(0, |set, (index, invalidation)| match invalidation {
            Some(it)
                if matches!(
                    it.step,
                    Step::Keeps(_) | Step::Forgets | Step::Moves | Step::Returns | Step::Over
                ) =>
            {
                set | 1 << index
            }
            _ => set,
        })
    }

    /// Returns the invalidations that are not of a tag.
    pub(crate) fn by_key(&self) -> Set {
        let invalidations = self.invalidations.iter().enumerate();
        invalidations.fold(0, |set, (index, invalidation)| match invalidation {
            Some(it) if !matches!(it.kind, Kind::Tag | Kind::TagSoft | Kind::TagRemoved) => set | 1 << index,
            _ => set,
        })
    }

    /// Returns the hard invalidations in `set`.
    pub(crate) fn hard(&self, set: Set) -> Set {
        let invalidations = self.invalidations.iter().enumerate();
        invalidations.fold(0, |hard, (index, invalidation)| match invalidation {
            Some(invalidation) if invalidation.kind.is_hard() => hard | (set & 1 << index),
            _ => hard,
        })
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("store", &self.store)
            .field("begun", &self.begun)
            .field("returned", &self.returned)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
