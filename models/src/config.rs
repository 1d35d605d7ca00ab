//! What is explored: how many take part, what may go wrong, and which rule of the protocol is left out.

/// How the entry comes by its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tagging {
    /// It has none.
    None,
    /// It is declared: captured before the lease is written, which carries it too.
    Declared,
    /// The loader adds it before it reads what the tag covers.
    Added,
    /// It is known only after the load.
    Late,
}

/// What the store holds at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// Nothing at all.
    Empty,
    /// Nothing but the tag's record, and the sequence and the page for late tags.
    Tags,
    /// A fresh value.
    Fresh,
    /// A value past its freshness.
    Old,
}

/// A rule of the protocol that is left out, or turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Values are stored whatever there is.
    PlainFill,
    /// Leases are written whatever there is.
    PlainLease,
    /// A soft invalidation of a tag writes its pair whatever there is.
    PlainSoft,
    /// Those who wait are given the value although it could not be stored.
    NoLookAgain,
    /// Those who began after the fill are given the value too.
    NoSeal,
    /// The tag is captured after the source was read.
    TagAfterLoad,
    /// An invalidation rewrites the tag's record first and notes its number on the page after it.
    TagBeforeNote,
    /// An invalidation writes its number on the page whatever there is.
    PlainNote,
    /// A fill reads the page first and the late tag after it.
    PageBeforeLateTag,
    /// A load begins with the number after one that was used, and leaves the sequence as it is.
    NotMovedOn,
    /// A fill does not look whether the sequence is the one that its load began by.
    SequenceNotCompared,
    /// A page that was lost counts as one that says nothing.
    LostPageUnchanged,
    /// An invalidation in a full store removes the tag's record, and leaves the sequence.
    SequenceNotRemoved,
    /// Those who wait are given the value without another look at the tag.
    NoRecheck,
    /// Whether anybody waits is asked first, and the flight landed without a recheck in a step of its own.
    UnwaitedLandsLater,
    /// The near copy is put in without a look at the mark.
    NearUnchecked,
    /// The near copy is put in first, and taken out again in a step of its own.
    NearTakenOutLater,
    /// An invalidation removes what its own process has near first, and moves the mark in a step of its own.
    NearForgottenFirst,
    /// A process's own write does not move its mark.
    OwnDoesNotMoveTheMark,
    /// A process's own write does not move its mark, and the copy there is taken for what was written last.
    OwnByLastWritten,
    /// A copy of an own write is kept although something was told since the write began.
    OwnKeptThoughMoved,
    /// The notice of an own write is left aside.
    OwnNoticeIgnored,
    /// At the notice of an own write the copy stays where it is while it is compared with the store.
    OwnComparedInItsPlace,
    /// A copy that is what is in the store is put back, whatever was told meanwhile.
    PutBackUnchecked,
    /// A load that fails falls back to the stale copy without another look at it.
    ErrorUnchecked,
    /// The stale copy of a failed load is shared if the tag that the load captured has not changed; its own is not read
    /// again.
    ErrorRecheckedByLoad,
    /// The record beside which a lease was written is not looked at again.
    NoSecondLook,
    /// A lease beside another record than the one to be replaced is taken over, whichever of the two came later.
    OvertakenByEarlier,
    /// A lease beside an earlier record than the one to be replaced is waited for.
    NeverOvertaken,
    /// Leases have no time limit.
    LeaseForEver,
    /// A leader that goes away leaves its lead to nobody.
    LeadNotPassedOn,
}

/// What is explored.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it is called.
    pub name: &'static str,
    /// The process of each reader.
    pub readers: &'static [u8],
    /// The invalidations: every choice of so many of these kinds, each in either process.
    pub kinds: &'static [Kind],
    /// How many of them.
    pub invalidations: usize,
    /// What the store holds at first: each of these.
    pub starts: &'static [Start],
    /// How the entry comes by its tag.
    pub tagging: Tagging,
    /// There are near copies.
    pub near: bool,
    /// The store tells of changes. Otherwise a process knows of its own only, and copies are too old for no others.
    pub told: bool,
    /// A stale value is answered while it is refreshed; otherwise it is only answered if the load fails.
    pub while_revalidate: bool,
    /// A load may turn out to be for those who wait, and not for the store.
    pub unstored: bool,
    /// Leases may run out before their owner is done.
    pub expiry: bool,
    /// A write may still be carried out after its sender is gone.
    pub limbo: bool,
    /// Of the sequence and the page, which are read in one batch, the page is read first.
    pub page_first: bool,
    /// How much may go wrong.
    pub budget: Budget,
    /// What is left out.
    pub flaw: Option<Flaw>,
}

impl Config {
    /// Two readers, in one process each; nothing goes wrong.
    pub const PLAIN: Self = Self {
        name: "plain",
        readers: &[0, 1],
        kinds: &[],
        invalidations: 0,
        starts: &[Start::Empty],
        tagging: Tagging::None,
        near: false,
        told: true,
        while_revalidate: true,
        unstored: false,
        expiry: true,
        limbo: false,
        page_first: false,
        budget: Budget {
            crashes: 0,
            departures: 0,
            failures: 0,
            renewals: 0,
            ages: 0,
            losses: 0,
        },
        flaw: None,
    };

    /// The same without one of the protocol's rules.
    #[must_use]
    pub fn without(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }

    pub(crate) fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(crate) fn tagged(&self) -> bool {
        self.tagging != Tagging::None
    }
}

/// What is invalidated, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Removes the key's record.
    Key,
    /// Ends the freshness of the key's record.
    KeySoft,
    /// Removes everything, record by record.
    Clear,
    /// Writes another value over whatever is there.
    Set,
    /// Rewrites the tag's record.
    Tag,
    /// Rewrites the soft half of the tag's record.
    TagSoft,
    /// Removes the tag's record, since the store is full.
    TagRemoved,
}

impl Kind {
    /// Whether stale copies from before it are of no use either.
    pub fn is_hard(self) -> bool {
        !matches!(self, Self::KeySoft | Self::TagSoft)
    }
}

/// How much may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Crashes of a process.
    pub crashes: u8,
    /// Leaders that go away.
    pub departures: u8,
    /// Loads that fail.
    pub failures: u8,
    /// Renewals of a lease.
    pub renewals: u8,
    /// Values that grow old.
    pub ages: u8,
    /// Records of tags that the store loses.
    pub losses: u8,
}
