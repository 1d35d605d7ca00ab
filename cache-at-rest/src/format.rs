//! How a value becomes a record, and comes back.

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Key};

#[cfg(any(feature = "zstd", feature = "lz4"))]
use crate::compression::Compression;
use crate::error::unreadable;
use crate::frame::{self, FRAME_OVERHEAD, Frame, HEADER, OPEN, SEALED};
#[cfg(feature = "encryption")]
use crate::key_ring::{self, KeyRing};

/// The largest value that a compressed record may hold, unless it is set.
const MAX_DECOMPRESSED: usize = 64 << 20;

/// How values are written, and which records are read.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    #[cfg(any(feature = "zstd", feature = "lz4"))]
    pub(crate) compression: Option<Compression>,
    #[cfg(feature = "encryption")]
    pub(crate) keys: Option<KeyRing>,
    pub(crate) max_decompressed: usize,
}

impl Format {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(any(feature = "zstd", feature = "lz4"))]
            compression: None,
            #[cfg(feature = "encryption")]
            keys: None,
            max_decompressed: MAX_DECOMPRESSED,
        }
    }

    /// Returns the largest value that is stored, if the store takes records of at most `record` bytes.
    pub(crate) fn largest_value(&self, record: usize) -> usize {
        let as_it_is = record.saturating_sub(self.overhead());
        if self.compresses() {
            // Whether it fits is known only when it is compressed.
            as_it_is.max(self.max_decompressed)
        } else {
            as_it_is
        }
    }

    fn compresses(&self) -> bool {
        #[cfg(any(feature = "zstd", feature = "lz4"))]
        return self.compression.is_some();
        #[cfg(not(any(feature = "zstd", feature = "lz4")))]
        false
    }

    /// Returns how much longer a record is than its value at most, if the value is not compressed.
    fn overhead(&self) -> usize {
        #[cfg(feature = "encryption")]
        if let Some(keys) = &self.keys {
            return keys.overhead();
        }
        HEADER + FRAME_OVERHEAD
    }

    pub(crate) fn is_sealed(&self) -> bool {
        #[cfg(feature = "encryption")]
        return self.keys.is_some();
        #[cfg(not(feature = "encryption"))]
        false
    }

    /// Returns the record to store `value` as under `key`. `limit` is the largest value, if there is one.
    pub(crate) fn encode(&self, key: &Key, value: Bytes, limit: Option<usize>) -> Result<Bytes, Error> {
        if let Some(limit) = limit.filter(|limit| value.len() > *limit) {
            let message = format!("the value has {} bytes, and at most {limit} can be stored", value.len());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let frame = self.frame(value);
        #[cfg(feature = "encryption")]
        if let Some(keys) = &self.keys {
            return keys.seal(key, &frame);
        }
        let _ = key;
        Ok(frame.into_open_record())
    }

    fn frame(&self, value: Bytes) -> Frame {
        #[cfg(any(feature = "zstd", feature = "lz4"))]
        if let Some(compression) = &self.compression
            && value.len() <= self.max_decompressed
            && let Ok(len) = u32::try_from(value.len())
            && let Some((algorithm, bytes)) = compression.compress(&value)
        {
            return Frame::Compressed { algorithm, len, bytes };
        }
        Frame::Plain(value)
    }

    /// Returns the value in a record that is stored under `key`. The error says why there is none.
    pub(crate) fn decode(&self, key: &Key, record: Bytes) -> Result<Bytes, Error> {
        let _ = key;
        let kind = frame::kind(&record)?;
        #[cfg(feature = "encryption")]
        match (kind, &self.keys) {
            (Some(SEALED), Some(keys)) => return Frame::read(keys.open(key, &record)?, self.max_decompressed),
            (Some(SEALED), None) => return Err(key_ring::without_keys(&record)),
            // Anyone who can write to the store could have written it.
            (_, Some(_)) => return Err(unreadable("the record is not sealed")),
            (_, None) => {}
        }
        match kind {
            None => Ok(record),
            Some(OPEN) => Frame::read(record.slice(HEADER..), self.max_decompressed),
            #[cfg(not(feature = "encryption"))]
            Some(SEALED) => Err(unreadable(
                "the record is sealed, and this program was built without the feature `encryption`",
            )),
            Some(kind) => Err(unreadable(format!("the record is of the unknown kind {kind}"))),
        }
    }
}
