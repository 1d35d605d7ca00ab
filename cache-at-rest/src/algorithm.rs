//! The compression algorithms, and decompression within a bound.

use cache_core::Error;

use crate::error::unreadable;

/// A compression algorithm. Every build knows all of them, so that it can say which feature it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Zstd,
    Lz4,
}

impl Algorithm {
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Zstd),
            2 => Some(Self::Lz4),
            _ => None,
        }
    }

    #[cfg(any(feature = "zstd", feature = "lz4"))]
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Zstd => 1,
            Self::Lz4 => 2,
        }
    }

    /// Decompresses `bytes`, which must result in exactly `len` bytes. Allocates no more than that.
    pub(crate) fn decompress(self, bytes: &[u8], len: usize) -> Result<Vec<u8>, Error> {
        match self {
            #[cfg(feature = "zstd")]
            Self::Zstd => decompress_zstd(bytes, len).ok_or_else(damaged),
            #[cfg(feature = "lz4")]
            Self::Lz4 => decompress_lz4(bytes, len).ok_or_else(damaged),
            #[cfg(not(all(feature = "zstd", feature = "lz4")))]
            _ => {
                let _ = (bytes, len);
                let feature = match self {
                    Self::Zstd => "zstd",
                    Self::Lz4 => "lz4",
                };
                Err(unreadable(format!(
                    "the record is compressed, and this program was built without the feature `{feature}`"
                )))
            }
        }
    }
}

#[cfg(any(feature = "zstd", feature = "lz4"))]
fn damaged() -> Error {
    unreadable("the compressed record is damaged")
}

#[cfg(feature = "zstd")]
fn decompress_zstd(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut decompressed = Vec::with_capacity(len);
    // Writes no further than the capacity, and never allocates more.
    zstd::bulk::Decompressor::default()
        .decompress_to_buffer(bytes, &mut decompressed)
        .ok()?;
    (decompressed.len() == len).then_some(decompressed)
}

/// The most bytes that one byte of LZ4 stands for.
#[cfg(feature = "lz4")]
const LZ4_MOST: usize = 255;

#[cfg(feature = "lz4")]
fn decompress_lz4(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    if len / LZ4_MOST > bytes.len() {
        return None;
    }
    let mut decompressed = vec![0; len];
    let written = lz4_flex::block::decompress_into(bytes, &mut decompressed).ok()?;
    (written == len).then_some(decompressed)
}
