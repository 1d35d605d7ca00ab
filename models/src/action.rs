//! The actions of the model.

/// One step of somebody. A step holds at most one operation of the store, so anything may come between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A reader goes on.
    Reader(u8),
    /// The leader of a flight goes on.
    Flight(u8),
    /// The load fails.
    Fail(u8),
    /// What was loaded turns out to be for those who wait only.
    Unstored(u8),
    /// The leader renews its lease.
    Renew(u8),
    /// A reader who waits takes the lead.
    TakeLead {
        /// The reader.
        reader: u8,
        /// The flight.
        slot: u8,
    },
    /// The leader goes away; the write that it was about to do may be carried out later.
    Leave {
        /// The flight.
        slot: u8,
        /// The write is under way.
        sent: bool,
    },
    /// An invalidation goes on.
    Invalidate(u8),
    /// A change is delivered to a process.
    Deliver {
        /// The process.
        process: u8,
        /// And of the next one with it, as if they were one.
        both: bool,
    },
    /// A process compares a copy with the store.
    Check {
        /// The process.
        process: u8,
        /// Which one.
        index: u8,
    },
    /// A write arrives whose sender is gone.
    Arrive,
    /// The lease under the key runs out.
    Expire,
    /// The lease beside the record runs out, or is released.
    ExpireBeside,
    /// The value grows old.
    Age,
    /// The store loses the tag's record.
    LoseTag,
    /// The store loses the sequence.
    LoseSequence,
    /// The store loses the page of the tag.
    LosePage,
    /// A process crashes, and starts anew; the write that this flight was about to do may be carried out later.
    Crash {
        /// The process.
        process: u8,
        /// The flight whose write is under way.
        sent: Option<u8>,
    },
}
