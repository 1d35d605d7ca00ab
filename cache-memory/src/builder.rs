//! How a backend is set up.

use std::sync::Arc;
use std::thread::available_parallelism;

use cache_core::{Clock, SystemClock};

use crate::MemoryBackend;
use crate::shard::ShardBounds;
use crate::store::Store;

const DEFAULT_MAX_BYTES: u64 = 256 * 1024 * 1024;
const DEFAULT_MAX_ENTRIES: usize = 1_000_000;

/// A shard is never smaller than this by default, so that neither large values nor an uneven spread of the keys are
/// felt.
const SMALLEST_SHARD_BYTES: u64 = 16 * 1024 * 1024;
const SMALLEST_SHARD_ENTRIES: usize = 4096;

/// What an entry is taken to weigh when the room for remembering evicted keys is measured out. Large, since that room
/// comes on top of the bound.
const EXPECTED_ENTRY_WEIGHT: u64 = 2048;

/// Sets up a [`MemoryBackend`]. Made by [`MemoryBackend::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryBackendBuilder {
    max_bytes: u64,
    max_entries: usize,
    shards: Option<usize>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) background_purge: bool,
}

impl Default for MemoryBackendBuilder {
    fn default() -> Self {
        Self {
            max_bytes: DEFAULT_MAX_BYTES,
            max_entries: DEFAULT_MAX_ENTRIES,
            shards: None,
            clock: Arc::new(SystemClock),
            background_purge: true,
        }
    }
}

impl MemoryBackendBuilder {
    /// The most that all entries together may count for, in bytes; 256 MiB if not set.
    ///
    /// An entry counts for its key, its value and [`MemoryBackend::ENTRY_OVERHEAD`]. The bound is never exceeded.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        // More than any machine has, and small enough to be added to and doubled.
        self.max_bytes = bytes.min(1 << 60);
        self
    }

    /// The most entries that are held at once, at least 1; 1,000,000 if not set. The bound is never exceeded.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries.max(1);
        self
    }

    /// The number of independently locked parts, rounded up to a power of two.
    ///
    /// If not set: four for each processor, but no more than leave each part 16 MiB and 4096 entries. Each part has an
    /// equal share of both bounds, so more parts mean less waiting for each other, a smaller
    /// [largest value](cache_core::Limits::value_bytes), and evictions that begin a little before the bounds are
    /// reached, as keys never spread quite evenly.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Where the time is read from; the [system's clock](SystemClock) if not set.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Whether a background task frees expired records that nobody reads or writes; `true` if not set.
    ///
    /// The task is started by the first write of a record with an end inside a tokio runtime, which must have its
    /// timers enabled, and ends with the backend. It sleeps in tokio's time until the next deadline of the
    /// [clock](Self::clock). Without it, writes and [`MemoryBackend::purge_expired`] free expired records.
    pub fn background_purge(mut self, enabled: bool) -> Self {
        self.background_purge = enabled;
        self
    }

    /// The backend. It shares nothing with any other.
    #[must_use]
    pub fn build(self) -> MemoryBackend {
        MemoryBackend::new(Store::new(self))
    }

    /// The number of shards, and what each of them may hold.
    pub(crate) fn shards_and_bounds(&self) -> (usize, ShardBounds) {
        let most = |bytes: u64, entries: usize| {
            let by_bytes = usize::try_from(self.max_bytes / bytes).unwrap_or(usize::MAX);
            let most = by_bytes.min(self.max_entries / entries).clamp(1, 1 << 16);
            // The largest power of two that is not above.
            1 << most.ilog2()
        };
        let shards = match self.shards {
            Some(shards) => shards.min(1 << 16).next_power_of_two().min(most(1, 1)),
            None => {
                let wanted = available_parallelism().map_or(1, |processors| processors.get() * 4);
                wanted
                    .next_power_of_two()
                    .min(most(SMALLEST_SHARD_BYTES, SMALLEST_SHARD_ENTRIES))
            }
        };
        let bounds = ShardBounds {
            bytes: self.max_bytes / shards as u64,
            entries: self.max_entries / shards,
        };
        (shards, bounds)
    }

    pub(crate) fn expected_entries(&self) -> usize {
        usize::try_from(self.max_bytes / EXPECTED_ENTRY_WEIGHT).map_or(self.max_entries, |n| n.min(self.max_entries))
    }
}
