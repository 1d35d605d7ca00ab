//! What is explored: how many actors take part, which faults may happen, and which rule of the protocol is removed.

/// How the entry comes by its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tagging {
    /// It has no tag.
    None,
    /// It is known before the load: a snapshot of it is taken before the lease is written, and the lease carries it
    /// too.
    Declared,
    /// The loader adds it before it reads what the tag covers.
    Added,
    /// It is known only after the load.
    Late,
}

/// What the store holds at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// Nothing.
    Empty,
    /// Only the tag's record, and the sequence and the page for late tags.
    Tags,
    /// A fresh value.
    Fresh,
    /// A value past its freshness.
    Old,
}

/// A rule of the protocol that is removed or reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Values are stored unconditionally.
    PlainFill,
    /// Leases are written unconditionally.
    PlainLease,
    /// A soft invalidation of a tag writes its pair unconditionally.
    PlainSoft,
    /// The waiting readers get the value although it could not be stored.
    NoLookAgain,
    /// Readers that began after the fill get the value too.
    NoSeal,
    /// The snapshot of the tag is taken after the source was read.
    TagAfterLoad,
    /// An invalidation rewrites the tag's record first, and then writes its number on the page.
    TagBeforeNote,
    /// An invalidation writes its number on the page unconditionally.
    PlainNote,
    /// A fill reads the page first, and then the late tag.
    PageBeforeLateTag,
    /// A load that finds a used number begins with the next one, but does not advance the sequence in the store.
    NotMovedOn,
    /// A fill does not check whether the sequence is the one that its load began with.
    SequenceNotCompared,
    /// A lost page counts as a page without invalidations.
    LostPageUnchanged,
    /// An invalidation in a full store removes the tag's record, but not the sequence.
    SequenceNotRemoved,
    /// The waiting readers get the value without another read of the tag.
    NoRecheck,
    /// Finding that nobody waits, and landing the flight without a recheck, are two steps.
    UnwaitedLandsLater,
    /// The near copy is stored without a check of the change stamp.
    NearUnchecked,
    /// The near copy is stored first. Checking the change stamp, and removing the copy again, is a later step.
    NearTakenOutLater,
    /// An invalidation removes the near copy of its own process first. Changing the change stamp is a later step.
    NearForgottenFirst,
    /// A process's own write does not change its change stamp.
    OwnDoesNotMoveTheMark,
    /// A process's own write does not change its change stamp, and its copy counts as the value written last.
    OwnByLastWritten,
    /// A copy of an own write is stored although a change was reported since the write began.
    OwnKeptThoughMoved,
    /// The change report of an own write is ignored.
    OwnNoticeIgnored,
    /// When an own write is reported, the copy remains in use while it is compared with the store.
    OwnComparedInItsPlace,
    /// A copy that equals the store is put back, even if a change was reported in the meantime.
    PutBackUnchecked,
    /// A failed load falls back to the stale copy without checking it again.
    ErrorUnchecked,
    /// The stale copy of a failed load is shared if the load's snapshot of the tag still holds. The copy's own tag is
    /// not read again.
    ErrorRecheckedByLoad,
    /// The record beside which a lease was written is not checked again.
    NoSecondLook,
    /// A lease beside another record than the one to be replaced is taken over, whichever of the two records is later.
    OvertakenByEarlier,
    /// A leader waits for a lease beside an earlier record than the one to be replaced.
    NeverOvertaken,
    /// Leases do not expire.
    LeaseForEver,
    /// A leader that is cancelled does not pass on the lead.
    LeadNotPassedOn,
}

/// What is explored.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of the scenario.
    pub name: &'static str,
    /// The process of each reader.
    pub readers: &'static [u8],
    /// The kinds of invalidations. Every choice of [`invalidations`](Self::invalidations) of them is explored, each in
    /// either process.
    pub kinds: &'static [Kind],
    /// The number of invalidations.
    pub invalidations: usize,
    /// The initial contents of the store. Each of these is explored.
    pub starts: &'static [Start],
    /// How the entry comes by its tag.
    pub tagging: Tagging,
    /// Whether there are near copies.
    pub near: bool,
    /// Whether the store reports changes. Otherwise a process knows of its own changes only, and a copy counts as
    /// outdated only after those.
    pub told: bool,
    /// Whether a stale value is returned while it is refreshed. Otherwise it is only returned if the load fails.
    pub while_revalidate: bool,
    /// Whether a load may turn out to be for the waiting readers only, and not for the store.
    pub unstored: bool,
    /// Whether leases may expire before their owner is done.
    pub expiry: bool,
    /// Whether a write may be carried out after its sender is gone.
    pub limbo: bool,
    /// Whether the page is read before the sequence. Both are read in one batch, in either order.
    pub page_first: bool,
    /// How often each fault may happen.
    pub budget: Budget,
    /// The rule that is removed, if any.
    pub flaw: Option<Flaw>,
}

impl Config {
    /// Two readers in two processes, and no faults.
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
            pages: 0,
        },
        flaw: None,
    };

    /// Returns the same configuration without one of the protocol's rules.
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

/// What an invalidation invalidates, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Removes the key's record.
    Key,
    /// Ends the freshness of the key's record.
    KeySoft,
    /// Removes everything, record by record.
    Clear,
    /// Writes another value unconditionally.
    Set,
    /// Rewrites the tag's record.
    Tag,
    /// Rewrites the soft half of the tag's record.
    TagSoft,
    /// Removes the tag's record, because the store is full.
    TagRemoved,
}

impl Kind {
    /// Returns whether it invalidates stale copies from before it, too.
    pub fn is_hard(self) -> bool {
        !matches!(self, Self::KeySoft | Self::TagSoft)
    }
}

/// How often each fault may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Crashes of a process.
    pub crashes: u8,
    /// Leaders that are cancelled.
    pub departures: u8,
    /// Loads that fail.
    pub failures: u8,
    /// Renewals of a lease.
    pub renewals: u8,
    /// Values that become stale.
    pub ages: u8,
    /// Records that the store loses: of tags, the sequence, and pages.
    pub losses: u8,
    /// Pages that the store loses in addition.
    pub pages: u8,
}
