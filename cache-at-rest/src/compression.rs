//! How values are compressed.

use crate::algorithm::Algorithm;

/// How values are compressed, for [`AtRest::with_compression`](crate::AtRest::with_compression).
///
/// Each record says how it was compressed. So you can change the algorithm, the level and the threshold at any time, and
/// records that were written before are still read, as long as the feature of their algorithm is on.
///
/// [`zstd`](Self::zstd) makes values smaller than [`lz4`](Self::lz4), which takes less time in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Compression {
    algorithm: Algorithm,
    #[cfg(feature = "zstd")]
    level: i32,
    threshold: usize,
}

/// The smallest value that is compressed, unless a threshold is set.
const THRESHOLD: usize = 1024;

/// A compressed value is stored only if it is smaller by at least one part in this many. Otherwise every read would pay
/// for decompression, and gain nothing.
const LEAST_GAIN: usize = 16;

impl Compression {
    /// Compresses with zstd at its default level, 3.
    #[cfg(feature = "zstd")]
    pub fn zstd() -> Self {
        Self::zstd_with_level(zstd::DEFAULT_COMPRESSION_LEVEL)
    }

    /// Compresses with zstd at `level`, from 1 (fast) to 22 (small). Negative levels are faster still. A level out of the
    /// range of libzstd counts as the nearest one in it. Reading is equally fast at all levels.
    #[cfg(feature = "zstd")]
    pub fn zstd_with_level(level: i32) -> Self {
        let levels = zstd::compression_level_range();
        Self {
            level: level.clamp(*levels.start(), *levels.end()),
            ..Self::new(Algorithm::Zstd)
        }
    }

    /// Compresses with LZ4.
    #[cfg(feature = "lz4")]
    pub fn lz4() -> Self {
        Self::new(Algorithm::Lz4)
    }

    fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            #[cfg(feature = "zstd")]
            level: 0,
            threshold: THRESHOLD,
        }
    }

    /// Sets the size in bytes from which on values are compressed. Default: 1,024.
    ///
    /// It is compared with the encoded entry, which has some hundred bytes besides the value: key, tags and times.
    pub fn with_threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Returns the compressed `value`, unless it is below the threshold or does not shrink.
    pub(crate) fn compress(&self, value: &[u8]) -> Option<(Algorithm, Vec<u8>)> {
        if value.len() < self.threshold {
            return None;
        }
        let most = value.len() - value.len() / LEAST_GAIN;
        let compressed = match self.algorithm {
            #[cfg(feature = "zstd")]
            Algorithm::Zstd => {
                let mut compressed = Vec::with_capacity(most);
                // Fails if the result does not fit, which means that the value does not shrink.
                zstd::bulk::Compressor::new(self.level)
                    .ok()?
                    .compress_to_buffer(value, &mut compressed)
                    .ok()?;
                compressed
            }
            #[cfg(feature = "lz4")]
            Algorithm::Lz4 => lz4_flex::block::compress(value),
            // Cannot be constructed without its feature.
            #[cfg(not(all(feature = "zstd", feature = "lz4")))]
            _ => return None,
        };
        (compressed.len() < most).then_some((self.algorithm, compressed))
    }
}
