//! The actions of the model.

/// One step of one actor. A step contains at most one operation of the store, so anything may happen between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A reader does its next step.
    Reader(u8),
    /// The leader of a flight does its next step.
    Flight(u8),
    /// The load fails.
    Fail(u8),
    /// The loaded value turns out to be for the waiting readers only, and not for the store.
    Unstored(u8),
    /// The leader renews its lease.
    Renew(u8),
    /// A waiting reader takes the lead.
    TakeLead {
        /// The reader.
        reader: u8,
        /// The flight.
        slot: u8,
    },
    /// The leader is cancelled. The write that it was about to do may be carried out later.
    Leave {
        /// The flight.
        slot: u8,
        /// Whether that write is under way.
        sent: bool,
    },
    /// An invalidation does its next step.
    Invalidate(u8),
    /// A change is delivered to a process.
    Deliver {
        /// The process.
        process: u8,
        /// Whether the next change is delivered with it, as if both were one.
        both: bool,
    },
    /// A process compares a copy with the store.
    Check {
        /// The process.
        process: u8,
        /// Which of its comparisons.
        index: u8,
    },
    /// The store carries out a write whose sender is gone.
    Arrive,
    /// The lease under the key expires.
    Expire,
    /// The lease beside the record expires, or is released.
    ExpireBeside,
    /// The value becomes stale.
    Age,
    /// The store loses the tag's record.
    LoseTag,
    /// The store loses the sequence.
    LoseSequence,
    /// The store loses the tag's page.
    LosePage,
    /// A process crashes and restarts. The write that one of its flights was about to do may be carried out later.
    Crash {
        /// The process.
        process: u8,
        /// The flight whose write is under way, if any.
        sent: Option<u8>,
    },
}
