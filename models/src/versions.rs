//! Versions: creates new ones, and renumbers them, so that states that differ only in the numbers are one.

use crate::state::{
    At, Check, Copied, Fence, Limbo, Mode, Page, Pair, Precondition, Read, Reader, Record, Stale, State, Step, Task,
    Version,
};

/// What a version belongs to.
#[derive(Clone, Copy)]
enum Domain {
    Record,
    Tag,
    Sequence,
    Page,
}

impl State {
    /// Returns a version that nothing has.
    fn unused(&mut self, of: Domain) -> Version {
        let mut highest = 0;
        self.each_version(&mut |domain, version| {
            if domain as u8 == of as u8 {
                highest = highest.max(*version);
            }
        });
        highest + 1
    }

    /// Returns a version for a record or a lease.
    pub(crate) fn new_version(&mut self) -> Version {
        self.unused(Domain::Record)
    }

    /// Returns one half of a tag's pair.
    pub(crate) fn new_half(&mut self) -> Version {
        self.unused(Domain::Tag)
    }

    /// Returns both halves of a tag's pair.
    pub(crate) fn new_pair(&mut self) -> Pair {
        let hard = self.new_half();
        Pair { hard, soft: hard + 1 }
    }

    /// Returns an id for a sequence.
    pub(crate) fn new_sequence(&mut self) -> Version {
        self.unused(Domain::Sequence)
    }

    /// Returns a version for the page.
    pub(crate) fn new_page(&mut self) -> Version {
        self.unused(Domain::Page)
    }

    /// Renumbers all versions in the order in which they occur.
    pub(crate) fn renumber(&mut self) {
        const MOST: usize = 48;
        let mut names = [[0; MOST]; 4];
        let mut next = [1; 4];
        self.each_version(&mut |domain, version| {
            let (names, next) = (&mut names[domain as usize], &mut next[domain as usize]);
            let name = &mut names[usize::from(*version)];
            if *name == 0 {
                *name = *next;
                *next += 1;
            }
            *version = *name;
        });
    }

    fn each_version(&mut self, visit: &mut impl FnMut(Domain, &mut Version)) {
        use Domain::{Page, Record, Sequence};
        let Self {
            store,
            readers,
            flights,
            invalidations,
            near,
            limbo,
            ..
        } = self;
        each_record(&mut store.record, visit);
        if let Some(beside) = &mut store.beside {
            visit(Record, &mut beside.version);
            visit(Record, &mut beside.of);
            each_pair(&mut beside.tag, visit);
        }
        each_pair(&mut store.tag, visit);
        if let Some(sequence) = &mut store.sequence {
            visit(Sequence, &mut sequence.id);
        }
        each_page(&mut store.page, visit);
        for reader in readers {
            if let Reader::Active { at, .. } = reader {
                match at {
                    At::ReadTag(record) => in_record(record, visit),
                    At::Join(seen) => in_seen(seen, visit),
                    At::Wait(_, stale) => in_stale(stale, visit),
                    At::Insert(copied) => in_copied(copied, visit),
                    At::Read | At::Lead(_) | At::TakeOut => {}
                }
            }
        }
        for flight in flights.iter_mut().flatten() {
            match &mut flight.task {
                Task::LookTag(record) => in_record(record, visit),
                Task::Filled(version) => visit(Record, version),
                Task::MoveOn(_, sequence) | Task::MarkUsed(sequence) => visit(Sequence, &mut sequence.id),
                Task::BeginSequence(_, id) => visit(Sequence, id),
                Task::WriteUnknown(version) => each(version, Page, visit),
                Task::FindOut(version) => visit(Page, version),
                Task::WriteKnown(version, sequence) => {
                    visit(Page, version);
                    visit(Sequence, &mut sequence.id);
                }
                _ => {}
            }
            if let Some(precondition) = &mut flight.precondition {
                in_basis(precondition, visit);
            }
            in_stale(&mut flight.stale, visit);
            match &mut flight.fence {
                Some(Fence::Lease(lease)) => visit(Record, lease),
                Some(Fence::Record { record, lease }) => {
                    visit(Record, record);
                    visit(Record, lease);
                }
                None => {}
            }
            each_pair(&mut flight.tag, visit);
            if let Some(began) = &mut flight.began {
                visit(Sequence, &mut began.id);
            }
        }
        for invalidation in invalidations.iter_mut().flatten() {
            match &mut invalidation.step {
                Step::Marks(record) => each_record(record, visit),
                Step::Rewrites(pair) | Step::Writes(pair, _) => each_pair(pair, visit),
                Step::Keeps(copied) => in_copied(copied, visit),
                Step::ReadsPage(sequence) | Step::MarksUsed(sequence) => visit(Sequence, &mut sequence.id),
                Step::ReadsSequence(page) => each_page(page, visit),
                Step::Notes(sequence, page) => {
                    visit(Sequence, &mut sequence.id);
                    each_page(page, visit);
                }
                _ => {}
            }
        }
        for near in near {
            if let Some(copied) = &mut near.copy {
                in_copied(copied, visit);
            }
            each(&mut near.own, Record, visit);
            each_pair(&mut near.memo, visit);
            for check in near.checks.iter_mut().flatten() {
                let (Check::Asks(copied) | Check::Same(copied)) = check;
                in_copied(copied, visit);
            }
        }
        if let Some(Limbo { mode, record }) = limbo {
            if let Mode::IfVersion(version) = mode {
                visit(Record, version);
            }
            // The version of what it writes is assigned later.
            each_pair(&mut record.tag, visit);
        }
    }
}

fn each(version: &mut Option<Version>, domain: Domain, visit: &mut impl FnMut(Domain, &mut Version)) {
    if let Some(version) = version {
        visit(domain, version);
    }
}

fn each_page(page: &mut Option<Page>, visit: &mut impl FnMut(Domain, &mut Version)) {
    if let Some(Page { version, id, .. }) = page {
        visit(Domain::Page, version);
        visit(Domain::Sequence, id);
    }
}

fn each_pair(pair: &mut Option<Pair>, visit: &mut impl FnMut(Domain, &mut Version)) {
    if let Some(Pair { hard, soft }) = pair {
        visit(Domain::Tag, hard);
        visit(Domain::Tag, soft);
    }
}

fn in_copied(copied: &mut Copied, visit: &mut impl FnMut(Domain, &mut Version)) {
    visit(Domain::Record, &mut copied.version);
    each_pair(&mut copied.tag, visit);
}

fn in_record(record: &mut Record, visit: &mut impl FnMut(Domain, &mut Version)) {
    visit(Domain::Record, &mut record.version);
    each_pair(&mut record.tag, visit);
}

fn each_record(record: &mut Option<Record>, visit: &mut impl FnMut(Domain, &mut Version)) {
    if let Some(record) = record {
        in_record(record, visit);
    }
}

fn in_stale(stale: &mut Option<Stale>, visit: &mut impl FnMut(Domain, &mut Version)) {
    if let Some(stale) = stale {
        each_pair(&mut stale.tag, visit);
    }
}

fn in_basis(precondition: &mut Precondition, visit: &mut impl FnMut(Domain, &mut Version)) {
    match precondition {
        Precondition::Nothing => {}
        Precondition::Record(version) | Precondition::Lease(version) => visit(Domain::Record, version),
    }
}

fn in_seen(seen: &mut Read, visit: &mut impl FnMut(Domain, &mut Version)) {
    match seen {
        Read::Fresh(copied) => in_copied(copied, visit),
        Read::Leased => {}
        Read::Usable(stale, version) => {
            each_pair(&mut stale.tag, visit);
            visit(Domain::Record, version);
        }
        Read::Missing(precondition, stale) => {
            in_basis(precondition, visit);
            in_stale(stale, visit);
        }
    }
}
