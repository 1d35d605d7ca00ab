//! A store in the memory of the process, for the caching toolkit.
//!
//! [`MemoryBackend`] is the backend to begin with, the one for values that live in one process, and the near tier in
//! front of a store that several processes share. It is built on [quick_cache], which finds the records and chooses
//! which of them to give up; this crate adds what a cache of *records* needs: lifetimes, versions, compare-and-set,
//! namespaces that can be cleared, and a second bound.
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use cache_core::{Backend, Prefix, SetOptions, SetOutcome};
//! use cache_memory::MemoryBackend;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), cache_core::Error> {
//! let backend = MemoryBackend::builder()
//!     .max_bytes(64 * 1024 * 1024)
//!     .max_entries(100_000)
//!     .build();
//! let key = Prefix::new("shop").namespace("users").key("42");
//! let minute = SetOptions::new(Duration::from_secs(60));
//!
//! // One of many callers gets to load: the one that wrote the lease.
//! let SetOutcome::Stored(lease) = backend.set(&key, Bytes::new().into(), minute.if_absent()).await? else {
//!     panic!("somebody else loads")
//! };
//! // Meanwhile the user changes, and what is being loaded is out of date.
//! backend.delete(&key).await?;
//! // So it is not stored.
//! let fill = backend.set(&key, Bytes::from("Ada").into(), minute.if_version(lease)).await?;
//! assert_eq!(fill, SetOutcome::Refused);
//! # Ok(())
//! # }
//! ```
//!
//! # What it keeps to
//!
//! | | |
//! |---|---|
//! | bounds | [bytes](MemoryBackendBuilder::max_bytes) and [entries](MemoryBackendBuilder::max_entries), both at once and never exceeded |
//! | weight | key, value and [`ENTRY_OVERHEAD`](MemoryBackend::ENTRY_OVERHEAD) |
//! | too large | a value above [`value_bytes`](cache_core::Limits::value_bytes) is an error, and the record that it was to replace is gone |
//! | lifetimes | to the millisecond of the [clock](MemoryBackendBuilder::clock); a record past its deadline is never returned |
//! | freeing | by a background task, by writes, and by [`purge_expired`](MemoryBackend::purge_expired); nobody has to read |
//! | compare-and-set | atomic, also against evictions and `clear` |
//! | objects | kept as they are; a hit is the same `Arc` and the same bytes |
//! | `clear` | exact boundary, literal names, counted; takes time in proportion to all entries, readers do not wait |
//! | instances | share nothing; clones of one share everything |
//! | `close` | frees the records at once, for all clones |
//!
//! # How it is built
//!
//! Keys are spread over shards. A shard is a quick_cache table and a lock. **Reading** takes the table's own read lock
//! and reads the clock if the record has a deadline; it allocates nothing but the future that the trait asks for.
//! **Writing** takes the shard's lock, and under it the table's for each step. Only writers evict, so between the look
//! at a record and its replacement nothing can change, and a `set` with a mode or a `delete_if` is one step to everybody
//! else. The index of deadlines is kept under the same lock and follows the table exactly.
//!
//! **Room is made before a record is written**, never after, so a write cannot push out its own record. Expired
//! records go first; then quick_cache chooses, by a policy in the manner of CLOCK-Pro and S3-FIFO.
//!
//! **Leases are pinned.** To the policy, the lease of a load that still runs is a newcomer that nobody reads. So a
//! record that is written with `IfAbsent`, lives for a minute at most and holds no more than 1 KiB is not evicted, nor
//! is one of the same weight that replaces it by `IfVersion`, which is how a lease is renewed. Pinned records take no
//! more than an eighth of either bound, and no more than 256 of them are in a shard; those beyond are evicted like any
//! other, and all of them before a bound would be exceeded. A fill whose lease was evicted is refused, which costs a
//! repeated load and never stores a wrong value.
//!
//! # What to know
//!
//! - The overhead that is counted covers what tables and index take for an entry, as measured. Right after a table has
//!   grown it takes more for a while. What a shared object really takes is for its owner to say.
//! - By default there are at most four shards for each processor, of 16 MiB and 4096 entries at least. The largest
//!   value is a little less than a shard: raise `max_bytes` or lower [`shards`](MemoryBackendBuilder::shards) for
//!   larger ones.
//! - Hits and misses are not counted here; listen to the engine's events. [`stats`](MemoryBackend::stats) counts
//!   evicted and expired records.
//!
//! [quick_cache]: https://docs.rs/quick_cache

mod backend;
mod builder;
mod deadlines;
mod entry;
mod shard;
mod stats;
mod store;
mod sweeper;

pub use self::backend::MemoryBackend;
pub use self::builder::MemoryBackendBuilder;
pub use self::stats::Stats;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
