//! The parts of a stored record that do not depend on keys.
//!
//! A record of this crate begins with a mark, the version of the format and its kind. After that comes a frame: as it is
//! if the record is not sealed, encrypted if it is. A frame is a value, compressed or not, and says which.

use bytes::Bytes;
use cache_core::Error;

use crate::algorithm::Algorithm;
use crate::error::unreadable;

/// The start of every record of this crate.
pub(crate) const MARK: [u8; 4] = *b"\xCArst";
pub(crate) const VERSION: u8 = 1;
/// The kind of a record with a frame that is not encrypted.
pub(crate) const OPEN: u8 = 0;
/// The kind of a record that is encrypted with XChaCha20-Poly1305.
pub(crate) const SEALED: u8 = 1;
/// The length of mark, version and kind.
pub(crate) const HEADER: usize = MARK.len() + 2;

/// The first byte of a frame with a value as it is.
const PLAIN: u8 = 0;
/// The largest overhead of a frame with a value as it is.
pub(crate) const FRAME_OVERHEAD: usize = 1;

/// A value as it is written into a record.
pub(crate) enum Frame {
    Plain(Bytes),
    #[cfg(any(feature = "zstd", feature = "lz4"))]
    Compressed {
        algorithm: Algorithm,
        /// The length of the value.
        len: u32,
        bytes: Vec<u8>,
    },
}

impl Frame {
    /// Returns the length of what [`write`](Self::write) appends.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(value) => FRAME_OVERHEAD + value.len(),
            #[cfg(any(feature = "zstd", feature = "lz4"))]
            Self::Compressed { len, bytes, .. } => FRAME_OVERHEAD + size_of_val(len) + bytes.len(),
        }
    }

    pub(crate) fn write(&self, record: &mut Vec<u8>) {
        match self {
            Self::Plain(value) => {
                record.push(PLAIN);
                record.extend_from_slice(value);
            }
            #[cfg(any(feature = "zstd", feature = "lz4"))]
            Self::Compressed { algorithm, len, bytes } => {
                record.push(algorithm.to_byte());
                record.extend_from_slice(&len.to_be_bytes());
                record.extend_from_slice(bytes);
            }
        }
    }

    /// Returns a record that is not sealed. A value that is not compressed is a record as it is, so that a program without
    /// this crate can read it, unless it looks like one of this crate.
    pub(crate) fn into_open_record(self) -> Bytes {
        match self {
            Self::Plain(value) if !value.starts_with(&MARK) => value,
            frame => {
                let mut record = Vec::with_capacity(HEADER + frame.len());
                write_header(OPEN, &mut record);
                frame.write(&mut record);
                record.into()
            }
        }
    }

    /// Returns the value in a frame. A compressed one has at most `most` bytes.
    pub(crate) fn read(frame: Bytes, most: usize) -> Result<Bytes, Error> {
        let damaged = || unreadable("the record is cut short");
        let (&first, rest) = frame.split_first().ok_or_else(damaged)?;
        if first == PLAIN {
            return Ok(frame.slice(FRAME_OVERHEAD..));
        }
        let algorithm = Algorithm::from_byte(first)
            .ok_or_else(|| unreadable(format!("the record is compressed with the unknown algorithm {first}")))?;
        let (len, compressed) = rest.split_first_chunk().ok_or_else(damaged)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        if len > most {
            return Err(unreadable(format!(
                "the record would take {len} bytes decompressed, and at most {most} are allowed: see \
                 `with_max_decompressed`"
            )));
        }
        algorithm.decompress(compressed, len).map(Bytes::from)
    }
}

pub(crate) fn write_header(kind: u8, record: &mut Vec<u8>) {
    record.extend_from_slice(&MARK);
    record.extend_from_slice(&[VERSION, kind]);
}

/// Returns the kind of a record of this crate, or `None` if it is not one.
pub(crate) fn kind(record: &[u8]) -> Result<Option<u8>, Error> {
    match record.strip_prefix(&MARK) {
        None => Ok(None),
        Some([VERSION, kind, ..]) => Ok(Some(*kind)),
        Some([newer, ..]) if *newer > VERSION => {
            Err(unreadable(format!("the record has the newer format version {newer}")))
        }
        Some(_) => Err(unreadable("the record is damaged")),
    }
}
