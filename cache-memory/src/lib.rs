//! A store in the memory of the process, for the caching toolkit.
//!
//! Use [`MemoryBackend`] to start with, for values that live in one process, and as the near tier in front of a store
//! that several processes share. It is a table of *records* with lifetimes, versions and compare-and-set. It is bounded
//! both in bytes and in entries, and clears namespaces.
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
//! let SetOutcome::Stored(lease) = backend.set(&key, Bytes::new().into(), minute.if_absent().lease()).await? else {
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
//! # What it guarantees
//!
//! | | |
//! |---|---|
//! | bounds | [bytes](MemoryBackendBuilder::max_bytes) and [entries](MemoryBackendBuilder::max_entries), both at once and never exceeded |
//! | memory | what the process uses for the entries is within 10 % of their weight: the allocations of key and value, and [`ENTRY_OVERHEAD`](MemoryBackend::ENTRY_OVERHEAD) |
//! | too large | a value above [`value_bytes`](cache_core::Limits::value_bytes) is an error, and the record that it was to replace is gone |
//! | lifetimes | to the millisecond, by a [monotonic clock](MemoryBackendBuilder::clock); a record past its deadline is never returned |
//! | freeing | by a background task, by writes, and by [`purge_expired`](MemoryBackend::purge_expired); no read is needed |
//! | compare-and-set | atomic, also against evictions and `clear` |
//! | leases | evicted last, see below |
//! | objects | stored as they are; a hit is the same `Arc`, and bytes are not copied |
//! | `clear` | exact boundary, literal names, counted; takes time in proportion to all entries, and does not block readers |
//! | instances | share nothing; clones of one share everything |
//! | `close` | frees the records at once, for all clones |
//!
//! # How it is built
//!
//! Keys are distributed over shards. A shard is a table and a lock. **A read** shares the lock, and reads the clock
//! only if the record has a deadline. It allocates nothing but the future that the trait requires. **A hit of the
//! engine** takes less: [`Backend::view`](cache_core::Backend::view) shows it the object in its place, under the lock, and
//! glances at the time that the kernel noted at its last tick. The exact time is read only if the value stops being fresh
//! within a second. **A write** holds the lock alone, so a `set` with a mode and a `delete_if` are atomic.
//!
//! An entry is one slot of 88 bytes and the allocation of its key. A value of up to 512 bytes is copied into the same
//! allocation; a larger one stays in its own buffer. The lists of the eviction and of the deadlines are links inside
//! the slots, so they take no further memory. Unused slots are released.
//!
//! **Room is made before a record is written**, never after, so a write cannot evict its own record. Expired records go
//! first, then the one that the eviction policy chooses.
//!
//! **The eviction policy** has a cold queue for new entries and a hot one for those that were used again, as CLOCK-Pro
//! has in [quick_cache]. The share of the cold queue adapts to what the keys that return soon after their eviction would
//! have needed, as in ARC. It is small while the same keys stay popular, so scans and loops evict nothing popular. It is
//! large while popularity moves on, and the policy is then nearly LRU: the cold queue is in the order of the last use,
//! and entries that leave the hot queue go back to their place in it. A hit moves nothing. It notes in the entry that it
//! was used and in which *epoch*, an eighth of the time in which as many entries are evicted as there are.
//!
//! **Leases are pinned.** To the eviction policy, the lease of a running load is a new entry that nobody reads. So a
//! record that is marked as a [lease](cache_core::SetOptions::lease) and has at most 1 KiB is evicted only if nothing
//! else is left. Pinned leases take at most an eighth of either bound; further leases are evicted like any other
//! record. A fill whose lease was evicted is refused, which costs a repeated load and never stores a wrong value.
//!
//! # What to know
//!
//! - The owner of a shared object states its size by the weight of the [`SharedValue`](cache_core::SharedValue).
//!   `Bytes` of more than 512 bytes that share a larger buffer with somebody else keep all of it alive.
//! - By default there are at most four shards for each processor, each of at least 16 MiB and 4096 entries. The largest
//!   value is a little less than a shard: raise `max_bytes` or lower [`shards`](MemoryBackendBuilder::shards) for
//!   larger ones.
//! - [`stats`](MemoryBackend::stats) counts evicted and expired records. For hits and misses, use the engine's events.
//! - Time that a machine spends suspended does not count on systems whose monotonic clock stands still then, such as
//!   Linux.
//! - A listener for evictions gets the key without its [identity](cache_core::Key::identity), which is not stored.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | record | a value with its version and its lifetime, as in `cache-core` |
//! | entry | a key and its record in the table |
//! | slot | the numbered place of an entry; the lists and the indexes refer to it by its number |
//! | shard | an independently locked part of the store |
//! | weight | the bytes by which an entry counts against `max_bytes` |
//! | deadline | the moment from which a record counts as absent |
//! | evict | to remove a record that has not expired, to make room |
//! | purge, sweep | to free expired records; the sweeper is the background task that does it |
//! | hot, cold | the queues of the eviction policy: of entries that were used again, and of new entries |
//! | demoted | moved back from the hot queue to the cold one |
//! | epoch | a period of evictions; the order of the last use is known to within an epoch |
//! | ghost | a part of the hash of an evicted key, by which its return is recognised |
//! | lease | the record of a load that is running |
//! | pinned | evicted only if nothing else is left |
//!
//! [quick_cache]: https://docs.rs/quick_cache

mod backend;
mod builder;
mod clock;
mod cold;
mod content;
mod deadlines;
mod entry;
mod eviction;
mod ghosts;
mod list;
mod shard;
mod slots;
mod stats;
mod store;
mod sweeper;
mod table;
mod time;

pub use self::backend::MemoryBackend;
pub use self::builder::MemoryBackendBuilder;
pub use self::stats::Stats;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
