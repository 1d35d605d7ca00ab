//! The stored envelope: what travels to a store as [`Value::Bytes`](crate::Value::Bytes).
//!
//! # Format, version 1
//!
//! Numbers are big-endian. The header has 64 bytes:
//!
//! | offset | bytes | what |
//! |-------:|------:|------|
//! | 0  | 4 | the mark `CA 63 68 65`; it is not UTF-8, so neither JSON nor any other text starts with it |
//! | 4  | 1 | the version of the format, `01` |
//! | 5  | 4 | CRC-32 (ISO-HDLC) of all bytes but these four |
//! | 9  | 1 | the [kind](EntryKind): 0 value, 1 absent, 2 failure, 3 lease, 4 tag |
//! | 10 | 1 | flags: bit 0, the copy is fresh for ever; bit 1, the text of the key follows its identity; others are 0 |
//! | 11 | 8 | created, in milliseconds since the Unix epoch |
//! | 19 | 8 | fresh, in milliseconds; 0 if for ever |
//! | 27 | 8 | stale while revalidate, in milliseconds |
//! | 35 | 8 | stale if error, in milliseconds |
//! | 43 | 1 | length of the coder's name |
//! | 44 | 4 | length of the key's identity |
//! | 48 | 4 | length of the key's text; 0 without flag bit 1 |
//! | 52 | 4 | length of the tags |
//! | 56 | 8 | length of the payload |
//!
//! After the header follow, without gaps and with nothing after them, the coder's name (UTF-8), the key's identity, the
//! key's text (UTF-8; only if it differs from the identity), the tags and the payload. A tag is the length of its name
//! (4 bytes), its name (UTF-8) and its version (16 bytes).
//!
//! The encoding is unique: encoding a decoded envelope gives the same bytes.
//!
//! An envelope is written in the lowest version of the format that can express it. An addition to the format raises the
//! version only of the envelopes that need it.

mod error;
mod format;
mod kind;
mod tags;

pub use self::error::EnvelopeError;
pub use self::format::Envelope;
pub use self::kind::EntryKind;
pub use self::tags::Tags;
