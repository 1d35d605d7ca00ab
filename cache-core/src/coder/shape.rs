//! The shape of a value, for formats that write values without saying what they are.
//!
//! The bytes of such a format can be read as another type: after a field was added, removed or reordered, they may decode to
//! a wrong value. So a digest of the shape is stored with the bytes: the serde calls by which the value was written, with
//! the names of fields and variants. Reading makes the corresponding calls, and must come to the same digest.

use std::cell::Cell;

/// A serde call, without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Text,
    Bytes,
    Option,
    Unit,
    UnitStruct,
    NewtypeStruct,
    Seq,
    Tuple(usize),
    TupleStruct(usize),
    Map,
    Struct,
    UnitVariant,
    NewtypeVariant,
    TupleVariant(usize),
    StructVariant,
}

/// The shape of a value, noted as it is written or read.
#[derive(Debug, Default)]
pub(super) struct Shape {
    calls: Cell<u64>,
    /// The sum over all names. Their order does not matter, since a reader knows the names of a struct before it reads
    /// any of them.
    names: Cell<u64>,
    /// A field that was left out, without which the shape is not that of the type.
    left_out: Cell<Option<&'static str>>,
}

impl Shape {
    pub(super) fn note(&self, kind: Kind) {
        let (code, len) = kind.code();
        let calls = mixed(self.calls.get(), code);
        self.calls.set(mixed(calls, len as u64));
    }

    /// Notes the name of the field or variant with this index.
    pub(super) fn note_name(&self, index: usize, name: &str) {
        let start = mixed(name.len() as u64, index as u64);
        let hash = name.bytes().fold(start, |hash, byte| mixed(hash, u64::from(byte)));
        self.names.set(self.names.get().wrapping_add(hash));
    }

    /// Notes that a field was left out.
    pub(super) fn leave_out(&self, field: &'static str) {
        self.left_out.set(Some(field));
    }

    /// Returns a field that was left out.
    #[cfg(feature = "postcard")]
    pub(super) fn left_out(&self) -> Option<&'static str> {
        self.left_out.get()
    }

    #[cfg(feature = "postcard")]
    pub(super) fn digest(&self) -> u32 {
        let all = mixed(self.calls.get(), self.names.get());
        (all >> 32) as u32
    }
}

fn mixed(hash: u64, value: u64) -> u64 {
    // The constant of FxHash.
    (hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95)
}

impl Kind {
    /// Returns a number for the call, and its length. The numbers are stored, so they must not change.
    const fn code(self) -> (u64, usize) {
        match self {
            Self::Bool => (1, 0),
            Self::I8 => (2, 0),
            Self::I16 => (3, 0),
            Self::I32 => (4, 0),
            Self::I64 => (5, 0),
            Self::I128 => (6, 0),
            Self::U8 => (7, 0),
            Self::U16 => (8, 0),
            Self::U32 => (9, 0),
            Self::U64 => (10, 0),
            Self::U128 => (11, 0),
            Self::F32 => (12, 0),
            Self::F64 => (13, 0),
            Self::Char => (14, 0),
            Self::Text => (15, 0),
            Self::Bytes => (16, 0),
            Self::Option => (17, 0),
            Self::Unit => (18, 0),
            Self::UnitStruct => (19, 0),
            Self::NewtypeStruct => (20, 0),
            Self::Seq => (21, 0),
            Self::Tuple(len) => (22, len),
            Self::TupleStruct(len) => (23, len),
            Self::Map => (24, 0),
            Self::Struct => (25, 0),
            Self::UnitVariant => (26, 0),
            Self::NewtypeVariant => (27, 0),
            Self::TupleVariant(len) => (28, len),
            Self::StructVariant => (29, 0),
        }
    }
}
