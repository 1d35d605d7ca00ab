//! The [`Cache`] handle: one policy engine over any store.
//!
//! You request a value and say how to load it. The engine decides what is stored and for how long, which caller loads,
//! and which callers wait.
//!
//! ```
//! use std::time::Duration;
//! use cache_engine::Cache;
//! use cache_memory::MemoryBackend;
//!
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct User { name: String }
//! # async fn query(id: u32) -> Result<User, std::io::Error> { Ok(User { name: format!("user {id}") }) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = Cache::builder(MemoryBackend::default())
//!     .prefix("shop")
//!     .ttl(Duration::from_secs(60))
//!     .stale_while_revalidate(Duration::from_secs(10))
//!     .build();
//! let users = cache.with_namespace("users");
//!
//! let user = users.get_or_load("42", || query(42)).await?;
//! assert_eq!(user.name, "user 42");
//!
//! users.invalidate("42").await?;
//! assert!(users.get::<User>("42").await?.is_none());
//! # Ok(()) }
//! ```
//!
//! # What to call
//!
//! | to | call |
//! |---|---|
//! | look up, and load what is missing | [`Cache::get_or_load`] |
//! | the same, for a value that may not exist | [`Cache::get_or_load_optional`] |
//! | the same, where the loader decides how its value is stored, or reads the stale one | [`Cache::get_or_load_with`] |
//! | the same, for a loader that borrows | [`Cache::borrowing`] |
//! | the same, for many keys at once | [`Cache::get_or_load_many`] |
//! | look up only | [`Cache::get`], [`Cache::get_many`] |
//! | store | [`Cache::set`] |
//! | load again, even if the value is fresh | [`Cache::refresh`] |
//! | invalidate one key | [`Cache::invalidate`], [`Cache::delete`] |
//! | invalidate what depends on something | [`Cache::with_tags`], [`Load::tagged`]; [`Cache::invalidate_tag`] |
//! | clear a namespace, or everything | [`Cache::clear`], [`Cache::clear_all`] |
//! | end freshness, and retain the stale value | [`Cache::soft`] |
//! | invalidate several things together | [`Cache::invalidation`] |
//! | invalidate after the commit of a transaction | [`Cache::deferred`] |
//! | invalidate what a database reports as changed | [`Cache::follow`] |
//! | hold copies in front of a shared store | [`CacheBuilder::near`] |
//! | cache a whole function | `#[cached]` and `#[invalidates]` (feature `macros`) |
//! | see what the cache does | [`Cache::stats`] |
//! | see what is stored under a key | [`Cache::inspect`] |
//! | observe | [`CacheBuilder::observer`], or `tracing` with the target `cache`; see [Traces](#traces) |
//! | write an adapter, whose loads do not fit into a closure | [`Cache::adapter`] |
//! | go past the caches for a call, or several | [`bypass`] |
//! | shut down cleanly | [`Cache::shutdown`] |
//!
//! # The life of an entry
//!
//! An entry is first *fresh*, for its TTL, and is returned as it is. Then it is *stale*. During
//! [`stale_while_revalidate`](Policy::stale_while_revalidate) it is still returned at once, while one load brings a new
//! value in the background. During [`stale_if_error`](Policy::stale_if_error) it is returned if the load fails or
//! outlasts the [`soft_timeout`](Policy::soft_timeout). Both windows begin at the end of freshness, as in RFC 5861.
//! They are stored with the value.
//!
//! # What is guaranteed
//!
//! - **One load per key.** Of all callers that request a missing key, one loads and the others wait. A *flight*
//!   coalesces them in this process, and a *lease* in the store does so between processes. A lease is renewed while its
//!   load runs, so another process takes over from a killed one within one [`lease_time`](CacheBuilder::lease_time).
//!   Waiting ends: a load that another load waits for waits at most that long for a lease, and no lease is renewed for
//!   longer than [`max_lease`](CacheBuilder::max_lease).
//! - **A caller that leaves harms no other.** An owned load runs in a task of its own. A [borrowing](Cache::borrowing)
//!   load passes to a waiting caller if its own caller leaves. An error is shared by all callers that waited. After a
//!   panic, the waiting callers load again, one at a time. A load that requests its own key, through any caches of the
//!   process, gets [`LoadError::Circular`].
//! - **No old value after an invalidation.** A loaded value is stored only if its fence is intact: the lease, or the
//!   stale record, that its load began from. [`Cache::invalidate`] removes that record, so the old value goes only to
//!   the caller that started the load. An entry carries the versions that its tags had before its load began, so
//!   [`Cache::invalidate_tag`] also applies to loads that are running, and does not depend on clocks. An invalidation
//!   that the store did not carry out is [pending](Cache::pending_invalidations). It is carried out before the store is
//!   trusted again.
//! - **A near tier that follows its store.** Near copies are removed when the change subscription reports a change, and
//!   are not used while the subscription is silent. Without a subscription they have a
//!   [maximum age](CacheBuilder::near_max_age).
//! - **A failing store does not fail its callers.** Calls to the store have a
//!   [time limit](CacheBuilder::backend_timeout), and a [circuit breaker](CacheBuilder::breaker) opens after repeated
//!   failures. Meanwhile, values are loaded. Only operations that must not fail silently, such as an invalidation,
//!   return an error.
//! - **An unreadable record is a miss.** A record that is damaged, or of another version, coder, type or key, is
//!   reported as an event and replaced by the next load.
//!
//! # Traces
//!
//! A cache describes its work in spans of [`tracing`](https://docs.rs/tracing), which `tracing-opentelemetry` exports. A hit
//! has none, except for the call of a store outside of this process. The names, targets and attributes are stable:
//!
//! | span | target | level | around |
//! |---|---|---|---|
//! | `cache.load` | `cache::load` | info | a load, from the miss until its value is stored and the callers have it; for a batch, one span |
//! | `cache.refresh` | `cache::refresh` | info | the same, while all callers get the stale, or not yet expired, value |
//! | `cache.verify` | `cache::verify` | info | the [verification](CacheBuilder::verify) of a hit |
//! | `cache.commit` | `cache::commit` | info | [`Deferred::commit`] |
//! | `cache.store` | `cache::store` | debug | a call of a store outside of this process |
//! | `cache.wait` | `cache::wait` | debug | a caller's wait for the load of another caller, to which it links |
//! | `cache.invalidate` | `cache::invalidate` | debug | invalidations of an [`Invalidation`] |
//!
//! Your code runs in those at level info, so what it logs has their context. Switch them on and off by target and level;
//! a span that is off costs nothing. `cache=debug` switches on all.
//!
//! | attribute | of | value |
//! |---|---|---|
//! | `cache.name` | all | the [name](CacheBuilder::name) of the cache |
//! | `cache.namespace` | loads, waits, verifications | the namespace, as it is written in keys |
//! | `cache.load.outcome` | loads | `ok`, or `error`, `panic`, `timeout` or `cancelled`; `elsewhere` if another process was faster |
//! | `cache.load.keys` | loads of batches | the number of keys |
//! | `error.type` | loads, calls | how it failed, if it did: as `cache.load.outcome`; the [kind](cache_core::ErrorKind) of the store's error, or `cancelled` |
//! | `db.system.name` | calls | `redis`, `memcached`, `aws.dynamodb`, or the [system name](cache_core::Backend::system_name) of another store |
//! | `db.operation.name` | calls | the method of [`Backend`](cache_core::Backend), such as `get`, which is also the exported name of the span |
//! | `db.operation.batch.size` | calls for several keys | their number |
//! | `cache.key` | all about one key | the first 256 bytes of the key. Only if the target `cache::key` is at level trace, because keys may be personal data |
//!
//! For OpenTelemetry, a call of the store is a span of kind client, and what failed has the status error.
//!
//! A span is a child of its caller's if the caller waits for it. Otherwise it begins a trace of its own and *links* to the
//! span of the caller (`tracing`'s `follows_from`), which ends when the caller has its value. So a stale hit takes a few
//! milliseconds in its trace, however long the refresh takes. If a caller goes on before its load has ended, its span has
//! its own end all the same; it is exported once the load has ended.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | hit, miss | a fresh value was found; nothing usable was found |
//! | negative hit | a stored result which says that there is no value, or that its load failed |
//! | stale | past freshness, and within one of the two windows after it |
//! | flight | the load of a key in this process, with the callers that wait for it |
//! | lead | the right and the duty to end a flight; held by one caller |
//! | lease | a record in the store which shows other processes that a load is running |
//! | fence | what a fill is conditional on: the lease, or the stale record, that its load began from |
//! | reservation | the right to replace what is stored, if nothing changes it meanwhile; no caller waits for it |
//! | fill | a load whose value is to be stored, from the fence to the end of the flight |
//! | load stack | the loads that the current task runs in, one within the other |
//! | tag version | the content of a tag's record; an invalidation replaces it |
//! | tag snapshot | the tag versions that a load read before it began, which its entry carries |
//! | tag cache | the tag versions that this process remembers |
//! | epoch | the tag that all entries of a namespace carry, where namespaces are cleared by a tag |
//! | late tag | a tag that is known only after the load |
//! | sequence | numbers in the store that order loads with late tags and invalidations of tags |
//! | slot, page | where the last invalidation of a tag is recorded, by its sequence number; a record with 64 slots |
//! | near copy | a copy in this process of a value in a store elsewhere |
//! | subscription, heartbeat | the store's reports of changes; its report that there was nothing to report |
//! | unavailable | the store did not answer, or the circuit breaker is open |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `macros` | yes | `#[cached]` and `#[invalidates]` |
//! | `functions` | by `macros` | what the attributes expand to, for crates that export the attributes themselves |
//! | `md5` | yes | [`HashedCall`](cache_core::HashedCall), the default key builder of functions |
//! | `cbor` | no | the coder `cache_core::Cbor` |
//! | `messagepack` | no | the coder `cache_core::MessagePack` |
//! | `postcard` | no | the coder `cache_core::Postcard` |
//! | `testing` | no | `cache_core::testing`: gates, and a store that fails on demand; for `[dev-dependencies]` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod event;
mod event_line;
#[cfg(feature = "functions")]
mod function;
mod lease;
mod load;
mod log;
mod near;
mod panics;
mod stats;
mod store;
mod tags;
mod tasks;
mod tier;
mod trace;

pub use cache_core;
#[cfg(feature = "macros")]
pub use cache_macros::{cached, invalidates};

pub use self::cache::adapter::{Adapter, AdapterEvent, Lookup, Refresh};
pub use self::cache::borrowing::Borrowing;
pub use self::cache::builder::CacheBuilder;
pub use self::cache::default_cache::{DefaultCacheIsSet, default_cache, set_default_cache};
pub use self::cache::deferred::{CommitError, Deferred};
pub use self::cache::follow::{ChangeFeed, Follow};
pub use self::cache::handle::Cache;
pub use self::cache::inspect::{InspectedContent, InspectedEntry, InspectedState, Inspection};
pub use self::cache::invalidate::Soft;
pub use self::cache::invalidation_set::Invalidation;
pub use self::cache::key::IntoKey;
pub use self::cache::many::{Many, Outcomes};
pub use self::event::{Event, LoadFailure, Observer};
#[cfg(feature = "functions")]
#[doc(hidden)]
pub use self::function::__private;
#[cfg(feature = "functions")]
pub use self::function::{CachedEntry, CallError, ResultOf};
pub use self::load::bypass::{bypass, in_current_load};
pub use self::load::call::Reporting;
pub use self::load::context::{Load, Loaded, LoadedMany, Stale};
pub use self::load::error::LoadError;
pub use self::load::fill::{Fill, StoreOutcome};
pub use self::load::policy::Policy;
pub use self::load::reservation::Reservation;
#[cfg(feature = "functions")]
pub use self::load::shared_error::SharedError;
pub use self::stats::histogram::LoadTimes;
pub use self::stats::recent::{RecentEvents, RecentInvalidation, RecentRefusal, RecentStoreFailure, RecentTarget};
pub use self::stats::snapshot::{
    BreakerState, ByTier, CacheStats, CacheTier, NamespaceStats, StatsReader, SubscriptionState,
};
pub use self::store::record::Found;
pub use self::tags::scope::{Tagger, tagged};
pub use self::tasks::Background;
pub use self::tier::purger::{Purge, Purger};
pub use self::tier::target::InvalidationTarget;
pub use self::trace::load::LoadSpan;
pub use self::trace::task::Awaited;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The documentation of the attributes, whose crate cannot depend on this one.
#[cfg(all(doctest, feature = "macros"))]
mod attributes {
    #[doc = include_str!("../docs/cached.md")]
    mod cached {}
    #[doc = include_str!("../docs/invalidates.md")]
    mod invalidates {}
}
