//! The builder of a backend.

use std::sync::Arc;
use std::thread::available_parallelism;

use cache_core::{Clock, Error, ErrorKind, allocated};

use crate::backend::MemoryBackend;
use crate::entry::ENTRY_OVERHEAD;
use crate::shard::ShardBounds;
use crate::store::{NAME, Store};
use crate::sweeper::Sweeper;
use crate::time::Timer;

const DEFAULT_MAX_BYTES: u64 = 256 * 1024 * 1024;
const DEFAULT_MAX_ENTRIES: usize = 1_000_000;

/// By default no shard is smaller, so that large values fit and an uneven distribution of the keys does not matter.
const SMALLEST_SHARD_BYTES: u64 = 16 * 1024 * 1024;
const SMALLEST_SHARD_ENTRIES: usize = 4096;
const MOST_SHARDS: usize = 1 << 16;

/// The weight of an entry with the shortest key and an empty value.
const SMALLEST_ENTRY: u64 = ENTRY_OVERHEAD + allocated(1) as u64;

/// More memory than any machine has, and small enough that sums and doubles of it do not overflow.
const MOST_BYTES: u64 = 1 << 60;

/// Sets up a [`MemoryBackend`]. Made by [`MemoryBackend::builder`].
///
/// ```
/// use cache_memory::MemoryBackend;
///
/// let backend = MemoryBackend::builder().max_bytes(64 * 1024 * 1024).try_build()?;
/// # assert!(backend.is_empty());
///
/// let error = MemoryBackend::builder().max_entries(0).try_build().unwrap_err();
/// assert!(error.to_string().contains("max_entries is 0"));
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryBackendBuilder {
    max_bytes: u64,
    max_entries: usize,
    shards: Option<usize>,
    clock: Option<Arc<dyn Clock>>,
    background_purge: bool,
}

impl Default for MemoryBackendBuilder {
    fn default() -> Self {
        Self {
            max_bytes: DEFAULT_MAX_BYTES,
            max_entries: DEFAULT_MAX_ENTRIES,
            shards: None,
            clock: None,
            background_purge: true,
        }
    }
}

impl MemoryBackendBuilder {
    /// Sets the largest total weight of the entries, in bytes. Default: 256 MiB.
    ///
    /// The weight of an entry is what the allocator uses for its key and its value, and
    /// [`MemoryBackend::ENTRY_OVERHEAD`]. The bound is never exceeded. The memory that the process uses for the entries
    /// stays within 10 % of it, provided that shared objects state their true size.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the largest number of entries. Default: 1,000,000. The bound is never exceeded.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// Sets the number of shards, which are locked independently, rounded up to a power of two. Default: four for each
    /// processor, but so few that each shard has at least 16 MiB and 4096 entries.
    ///
    /// Each shard has an equal share of both bounds. More shards mean less lock contention, a smaller [largest
    /// value](cache_core::Limits::value_bytes), and evictions that begin a little before the bounds are reached, since
    /// keys are never distributed quite evenly.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Sets the clock by which lifetimes are measured. Default: the machine's monotonic clock.
    ///
    /// Changing the time of day does not affect the default. If a clock that you set here steps back by more than a
    /// tenth of a second, no time passes for the store. A step forward counts as time that has passed.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets whether a background task frees expired records that are neither read nor written. Default: `true`.
    ///
    /// The first write of a record with a lifetime inside a tokio runtime starts the task. The runtime must have its
    /// timers enabled. The task sleeps until the next deadline, and ends with the backend. Without it, writes and
    /// [`MemoryBackend::purge_expired`] free expired records.
    pub fn background_purge(mut self, enabled: bool) -> Self {
        self.background_purge = enabled;
        self
    }

    /// Builds the backend. It shares nothing with other backends.
    ///
    /// Settings that [`try_build`](Self::try_build) refuses are corrected: counts of zero become one, and there are no
    /// more shards than entries. With fewer bytes than one entry takes, every write is [too large](ErrorKind::TooLarge).
    #[must_use]
    pub fn build(self) -> MemoryBackend {
        let (shards, bounds) = self.shards_and_bounds();
        let timer = self.clock.map_or(Timer::Monotonic, Timer::injected);
        MemoryBackend::new(Store::new(shards, bounds, timer, Sweeper::new(self.background_purge)))
    }

    /// Builds the backend, and fails if a setting makes no sense.
    ///
    /// # Errors
    /// Fails with [`Configuration`](ErrorKind::Configuration) if a bound or the number of shards is zero, if
    /// `max_bytes` has no room for an entry in each shard, or if there are more shards than entries. The message says
    /// what to set instead.
    pub fn try_build(self) -> Result<MemoryBackend, Error> {
        match self.problem() {
            None => Ok(self.build()),
            Some(problem) => Err(Error::new(ErrorKind::Configuration, problem)
                .with_backend(NAME)
                .with_operation("build")),
        }
    }

    fn problem(&self) -> Option<String> {
        let shards = self.shards.unwrap_or(1);
        if shards == 0 {
            return Some("shards is 0; set 1 or more, or leave it to the default".to_owned());
        }
        if self.max_entries == 0 {
            return Some("max_entries is 0, so nothing could be stored; set 1 or more".to_owned());
        }
        if shards > self.max_entries {
            return Some(format!(
                "there are {shards} shards for max_entries of {}; lower the first or raise the second",
                self.max_entries
            ));
        }
        let least = SMALLEST_ENTRY.saturating_mul(shards as u64);
        (self.max_bytes < least).then(|| {
            format!(
                "max_bytes is {}, and {shards} shards with one empty entry each take {least}; raise it",
                self.max_bytes
            )
        })
    }

    /// Returns the number of shards and the bounds of each.
    fn shards_and_bounds(&self) -> (usize, ShardBounds) {
        let (max_bytes, max_entries) = (self.max_bytes.min(MOST_BYTES), self.max_entries.max(1));
        let most = |bytes: u64, entries: usize| {
            let by_bytes = usize::try_from(max_bytes / bytes).unwrap_or(usize::MAX);
            let most = by_bytes.min(max_entries / entries).clamp(1, MOST_SHARDS);
            // The largest power of two that is at most `most`.
            1 << most.ilog2()
        };
        let shards = match self.shards {
            Some(shards) => shards.min(MOST_SHARDS).next_power_of_two().min(most(1, 1)),
            None => {
                let wanted = available_parallelism().map_or(1, |processors| processors.get() * 4);
                wanted
                    .next_power_of_two()
                    .min(most(SMALLEST_SHARD_BYTES, SMALLEST_SHARD_ENTRIES))
            }
        };
        let bounds = ShardBounds {
            bytes: max_bytes / shards as u64,
            entries: max_entries / shards,
        };
        (shards, bounds)
    }
}

impl MemoryBackend {
    /// Returns a builder with the default settings.
    pub fn builder() -> MemoryBackendBuilder {
        MemoryBackendBuilder::default()
    }
}

impl Default for MemoryBackend {
    /// Builds a backend with the default settings: 256 MiB, 1,000,000 entries, the machine's monotonic clock.
    fn default() -> Self {
        Self::builder().build()
    }
}
