//! The state of the whole: the store, the processes' flights and near copies, and whoever is under way.

use std::fmt;

use crate::config::{Budget, Config, Kind};

/// At most so many readers; each leads at most one flight.
pub const READERS: usize = 3;
/// At most so many invalidations.
pub const INVALIDATIONS: usize = 2;
/// At most so many processes.
pub const PROCESSES: usize = 2;

/// A set of invalidations or of readers.
pub type Set = u8;

/// A version, of which only equality counts. They are renumbered after every step, so that states which differ in
/// nothing but the numbers are one.
pub type Version = u8;

/// What a tag's record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Changed by hard invalidations.
    pub hard: Version,
    /// Changed by every invalidation.
    pub soft: Version,
}

/// A loaded value. Nothing of it counts but what it may be too old for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The invalidations that had begun when its load read the source.
    pub seen: Set,
}

/// A value past its freshness, kept for a load that fails or takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stale {
    /// The value.
    pub value: Value,
    /// The tag that it carries.
    pub tag: Option<Pair>,
}

/// A copy of a record's value, near at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Copied {
    /// The version of the record.
    pub version: Version,
    /// The tag that it carries.
    pub tag: Option<Pair>,
    /// Its value.
    pub value: Value,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Body {
    /// Somebody loads.
    Lease,
    /// A value that is fresh, its tag aside.
    Fresh(Value),
    /// A value past its freshness.
    Old(Value),
}

/// What stands under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// Its version.
    pub version: Version,
    /// The tag that it carries.
    pub tag: Option<Pair>,
    /// What it is.
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

/// When a write is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// If there is no record.
    IfAbsent,
    /// If the record still has this version.
    IfVersion(Version),
}

/// The numbers by which loads and invalidations are put in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// Another one for each that is begun.
    pub id: Version,
    /// The number, which counts.
    pub number: u8,
    /// An invalidation has used it.
    pub used: bool,
}

impl Sequence {
    /// With a number that no invalidation has used.
    pub(crate) fn next(self) -> Self {
        Self {
            number: self.number + 1,
            used: false,
            ..self
        }
    }

    /// With a number that is used.
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

/// When a load began, by the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Began {
    /// Of the sequence.
    pub id: Version,
    /// Its number.
    pub number: u8,
}

/// The page on which the tag's slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    /// Its version.
    pub version: Version,
    /// Of the sequence.
    pub id: Version,
    /// The highest number of an invalidation of the tag; `None` if that is not known.
    pub last: Option<u8>,
}

/// The store, all of it: one key, the place beside it, one tag, and the records for late tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Store {
    /// Under the key.
    pub record: Option<Record>,
    /// The lease beside a stale record.
    pub beside: Option<Beside>,
    /// The tag's record.
    pub tag: Option<Pair>,
    /// The sequence of loads that learn their tags late, and of invalidations.
    pub sequence: Option<Sequence>,
    /// The page of the tag.
    pub page: Option<Page>,
}

/// A write whose sender is gone, and that the store has yet to carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limbo {
    /// When it is carried out.
    pub mode: Mode,
    /// What it writes; its version is given when it is written.
    pub record: Record,
}

/// What a look shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Read {
    /// A fresh value.
    Fresh(Copied),
    /// A stale value, to be answered while it is refreshed.
    Usable(Stale, Version),
    /// Nothing to answer with.
    Missing(Precondition, Option<Stale>),
    /// Somebody loads.
    Leased,
}

/// What a load is to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precondition {
    /// Nothing is there.
    Nothing,
    /// A stale record, or one whose tag was invalidated.
    Record(Version),
    /// The lease of a load that its tag puts out of use.
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

/// One who asks for the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reader {
    /// Has not begun.
    Idle,
    /// Under way.
    Active {
        /// The invalidations that had returned when it began: it must not be given a value from before them.
        must: Set,
        /// Nothing has moved the mark of its process since it began to look.
        slot_unchanged: bool,
        /// What it does next.
        at: At,
    },
    /// Has its answer, or is gone.
    Done,
}

/// What a reader does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    /// Reads the record.
    Read,
    /// Has the record, and reads its tag.
    ReadTag(Record),
    /// Has seen this, and decides.
    Join(Read),
    /// Waits for the flight in this slot; the copy is what it saw before.
    Wait(u8, Option<Stale>),
    /// Leads the flight in this slot.
    Lead(u8),
    /// Has its answer, and puts a copy into the near slot.
    Insert(Copied),
    /// Has put a copy into the near slot, and looks whether it should have. (Only if that is a step of its own.)
    TakeOut,
}

/// Who leads a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leader {
    /// Its leader has gone away, and a successor is awaited.
    Nobody,
    /// This reader.
    Reader(u8),
    /// A refresh in the background.
    Background,
}

/// What a flight lands with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Landing {
    /// A value, fresh for all that is known.
    Value(Value),
    /// A stale value.
    Stale(Value),
    /// The failure of the load.
    Error,
    /// Nothing: look again.
    LookAgain,
}

/// What the reading of a tag is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To put up a fence next.
    Acquire,
    /// To take over a predecessor's fence next.
    Inherit,
    /// To read the source next.
    Source,
    /// To store the value next.
    Fill,
}

/// What the leader of a flight does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// There is no leader.
    Vacant,
    /// Reads the sequence, before the load.
    Begin(Purpose),
    /// Moves the sequence on from here, since the number was used.
    MoveOn(Purpose, Sequence),
    /// Found no sequence, and writes the page of a new one.
    BeginPage(Purpose),
    /// Has written the page of a new sequence of this name, and begins that.
    BeginSequence(Purpose, Version),
    /// Reads the tag's record.
    Tag(Purpose),
    /// Found no record of the tag, and begins one.
    BeginTag(Purpose),
    /// Writes its lease.
    Acquire,
    /// Has a lease beside a record, and looks whether that is still the same.
    CheckRecord,
    /// Renews the lease that it inherits.
    Inherit,
    /// Has renewed a lease beside a record, and looks whether that is still the same.
    InheritCheck,
    /// Seals the flight and looks what there is.
    Look,
    /// As `Look`, with the record at hand.
    LookTag(Record),
    /// Waits until somebody else is done.
    Pause,
    /// Reads the source.
    Source,
    /// Reads the sequence, to see whether it is the one that the load began by.
    CheckSequence,
    /// Reads the page, to see whether the tag was invalidated since the load began.
    CheckPage,
    /// Has found that what the page says is not known, and writes that over the version that it found.
    WriteUnknown(Option<Version>),
    /// The page says since this version that it is not known. Reads the sequence.
    FindOut(Version),
    /// Writes what is known now over that version of the page.
    WriteKnown(Version, Sequence),
    /// Notes that the number, which it has written on the page, is used.
    MarkUsed(Sequence),
    /// Seals the flight and stores the value.
    Fill,
    /// Has stored the value as this version, and keeps a copy.
    Filled(Version),
    /// Finds out whether anybody waits, to land with this.
    Share(Landing),
    /// Nobody waited just now: lands with this unless somebody does.
    LandUnlessWaitedFor(Landing),
    /// The load failed: looks whether the stale copy still stands.
    ErrorRecord,
    /// The load failed: looks whether the stale copy's tag still allows it.
    ErrorTag,
    /// Seals the flight and gives up the lease, to land with this.
    Withdraw(Landing),
    /// Reads the tag again, to land with this if it has not changed.
    Recheck(Landing),
    /// Lands.
    Land(Landing),
}

/// A flight: a load, and those in its process who wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flight {
    /// Where it is.
    pub process: u8,
    /// No invalidation of this process has detached it.
    pub in_map: bool,
    /// Who leads it.
    pub leader: Leader,
    /// The readers who began before it was sealed last.
    pub sealed_for: Set,
    /// What its leader does next.
    pub task: Task,
    /// What it is to replace, where that is known.
    pub precondition: Option<Precondition>,
    /// The copy to fall back to.
    pub stale: Option<Stale>,
    /// What the fill is conditional on.
    pub fence: Option<Fence>,
    /// The tag as it was captured.
    pub tag: Option<Pair>,
    /// When it began, by the sequence.
    pub began: Option<Began>,
    /// What its leader will have for an answer, whatever those who wait are told.
    pub outcome: Option<Landing>,
    /// The hard invalidations that had returned when the load failed.
    pub failed_after: Set,
    /// Nothing has moved the mark of its process since it took that, just before its fill.
    pub slot_unchanged: bool,
    /// Its fence is no longer its own: the lease has run out or was taken, or an invalidation removed it.
    pub lost: bool,
}

/// What an invalidation does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// It has not begun.
    Idle,
    /// Its first step is done, and so on.
    First,
    /// Has read the record.
    Marks(Option<Record>),
    /// Has read the sequence, and reads the page.
    ReadsPage(Sequence),
    /// Has read the page first, and reads the sequence.
    ReadsSequence(Option<Page>),
    /// Has read both, and notes the number on the page.
    Notes(Sequence, Option<Page>),
    /// Has noted the number, and notes that it is used.
    MarksUsed(Sequence),
    /// Has rewritten the tag's record first, and reads the sequence. (Only if that comes last.)
    NotesLast,
    /// Has read the tag's record.
    Rewrites(Option<Pair>),
    /// Has captured the tag, and writes a value that its caller brought then.
    Writes(Option<Pair>, Set),
    /// Has written this value, and keeps a copy.
    Keeps(Copied),
    /// Has removed the record, and what is near next.
    Forgets,
    /// Has removed what is near, and moves the mark. (Only if that is a step of its own.)
    Moves,
    /// Its writes are done; it returns.
    Returns,
    /// It has returned, or its process has crashed since its writes were done.
    Over,
    /// Its process has crashed before.
    Broken,
}

/// An invalidation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Invalidation {
    /// What it does.
    pub kind: Kind,
    /// Where it runs.
    pub process: u8,
    /// What it does next.
    pub step: Step,
    /// Nothing has moved the mark of its process since it took that, just before its write.
    pub slot_unchanged: bool,
}

/// At most so many copies of a process are compared with the store at a time; a notice that would bring one more waits.
pub const CHECKS: usize = 2;

/// A copy that is put back if it is still what is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// Takes the mark, and asks the store for its version.
    Asks(Copied),
    /// The store has this version, and nothing has moved the mark since.
    Same(Copied),
}

/// A notice that is under way to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Change {
    /// It is about the tag's record, not the key's.
    pub of_tag: bool,
    /// The invalidations whose work was done by then.
    pub tells: Set,
}

/// What a process has near.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Near {
    /// The copy.
    pub copy: Option<Copied>,
    /// What the process wrote last, if the notice of that is still to come.
    pub own: Option<Version>,
    /// What it remembers of the tag.
    pub memo: Option<Pair>,
    /// Copies that are compared with the store.
    pub checks: [Option<Check>; CHECKS],
    /// The notices that it has yet to be told.
    pub queue: Vec<Change>,
    /// The invalidations that it was told of.
    pub told: Set,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Broken {
    /// A reader was given a value whose load began before an invalidation that had returned when it began to read.
    pub old: bool,
    /// As `old`, and the invalidation was a hard one.
    pub resurrected: bool,
    /// Two leaders load at once, each under a lease that neither time nor an invalidation has ended.
    pub two_holders: bool,
    /// A process has a copy that is not what is in the store, and there is nothing left to tell it.
    pub near_astray: bool,
}

/// The state of the whole.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The store.
    pub store: Store,
    /// Each reader.
    pub readers: [Reader; READERS],
    /// The flights, each in the slot of the reader who began it.
    pub flights: [Option<Flight>; READERS],
    /// The invalidations; one that is not there is over.
    pub invalidations: [Option<Invalidation>; INVALIDATIONS],
    /// Those that have begun.
    pub begun: Set,
    /// Those that have returned.
    pub returned: Set,
    /// What each process has near.
    pub near: [Near; PROCESSES],
    /// A write under way without a sender.
    pub limbo: Option<Limbo>,
    /// How much may still go wrong.
    pub budget: Budget,
    /// What went wrong.
    pub broken: Broken,
}

impl State {
    /// The flight of `process` that one who comes now would join.
    pub(crate) fn flight_in_map(&self, process: u8) -> Option<usize> {
        self.flights
            .iter()
            .position(|flight| flight.is_some_and(|flight| flight.process == process && flight.in_map))
    }

    /// Who waits for the flight in `slot`.
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

    /// The readers of `process` that are under way.
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

    /// The invalidations whose writes are done.
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

    /// The invalidations that are not of a tag.
    pub(crate) fn by_key(&self) -> Set {
        let invalidations = self.invalidations.iter().enumerate();
        invalidations.fold(0, |set, (index, invalidation)| match invalidation {
            Some(it) if !matches!(it.kind, Kind::Tag | Kind::TagSoft | Kind::TagRemoved) => set | 1 << index,
            _ => set,
        })
    }

    /// The invalidations of `set` that are hard.
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
