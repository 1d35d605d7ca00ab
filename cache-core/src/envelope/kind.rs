//! The kinds of entries.

/// The kind of a stored entry.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A value. The payload is its encoding.
    Value,
    /// There is no value (a negative entry).
    Absent,
    /// A load failed. The payload is the message.
    Failure,
    /// A load is running.
    Lease,
    /// The record of a tag.
    Tag,
}

impl EntryKind {
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::Value => 0,
            Self::Absent => 1,
            Self::Failure => 2,
            Self::Lease => 3,
            Self::Tag => 4,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Value,
            1 => Self::Absent,
            2 => Self::Failure,
            3 => Self::Lease,
            4 => Self::Tag,
            _ => return None,
        })
    }
}
