//! The error of decoding an envelope.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Why bytes from a store could not be used. Each is a miss to a reader, never a failure.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EnvelopeError {
    /// The bytes were not written by this toolkit.
    NotAnEnvelope,
    /// The envelope is of this version of the format, which is newer than the reader.
    NewerVersion(u8),
    /// The envelope is damaged: cut short, or changed since it was written.
    Corrupt,
    /// The envelope was stored for another key.
    OtherKey,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnEnvelope => f.write_str("the stored bytes are not an envelope"),
            Self::NewerVersion(version) => write!(f, "the stored envelope has the newer format version {version}"),
            Self::Corrupt => f.write_str("the stored envelope is damaged"),
            Self::OtherKey => f.write_str("the stored envelope belongs to another key"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

impl From<EnvelopeError> for Error {
    fn from(error: EnvelopeError) -> Self {
        Self::new(ErrorKind::Codec, error.to_string()).with_source(error)
    }
}
