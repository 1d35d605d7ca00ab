//! The [`Cache`] handle: one policy engine over any store.
//!
//! You ask it for a value and say how to load it. The engine decides what is stored and for how long, who loads, and who
//! waits.
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
//! | the same, for what may not exist | [`Cache::get_or_load_optional`] |
//! | the same, where the loader decides how to keep its value, or sees the old one | [`Cache::get_or_load_with`] |
//! | the same, for a loader that borrows | [`Cache::borrowing`] |
//! | the same, for many keys at once | [`Cache::get_or_load_many`] |
//! | look up only | [`Cache::get`], [`Cache::get_many`] |
//! | store | [`Cache::set`] |
//! | load anew, however fresh | [`Cache::refresh`] |
//! | forget one key | [`Cache::invalidate`], [`Cache::delete`] |
//! | forget what depends on something | [`Cache::with_tags`], [`Load::tagged`]; [`Cache::invalidate_tag`] |
//! | forget a namespace, or everything | [`Cache::clear`], [`Cache::clear_all`] |
//! | end freshness, and keep the stale copy | [`Cache::soft`] |
//! | invalidate several things as one | [`Cache::invalidation`] |
//! | keep copies in front of a shared store | [`CacheBuilder::near`] |
//! | cache a whole function | `#[cached]` and `#[invalidates]` (feature `macros`) |
//! | watch | [`CacheBuilder::observer`], or `tracing` with the target `cache` |
//! | write an adapter, whose loads do not fit into a closure | [`Cache::adapter`] |
//! | stop in good order | [`Cache::shutdown`] |
//!
//! # The life of an entry
//!
//! An entry is *fresh* first, for its TTL, and answered as it is. Then it is *stale*: while
//! [`stale_while_revalidate`](Policy::stale_while_revalidate) lasts it is still answered at once, and one load brings a
//! new value in the background; while [`stale_if_error`](Policy::stale_if_error) lasts it is answered if the load
//! fails, or outlasts the [`soft_timeout`](Policy::soft_timeout). Both windows are counted from the end of freshness,
//! as in RFC 5861, and survive in the store with the value.
//!
//! # What is guaranteed
//!
//! - **One load per key.** Of all callers that ask for a missing key, one loads and the others wait: in this process by a
//!   *flight*, between processes by a *lease* in the store. A lease is renewed while its load runs, so a killed process is
//!   replaced within one [`lease_time`](CacheBuilder::lease_time). Waiting ends: a load that another load waits for waits
//!   no longer than that for a lease, and no lease is renewed longer than [`max_lease`](CacheBuilder::max_lease).
//! - **Nobody's departure hurts others.** An owned load runs in a task of its own. A [borrowing](Cache::borrowing) load
//!   passes to a waiting caller if its own leaves. An error is shared by all callers who waited. After a panic one of them at
//!   a time loads again. A load that asks for its own key, over whatever caches of the process, gets
//!   [`LoadError::Circular`].
//! - **No old value after an invalidation.** A load's value is stored only if its fence is intact: the lease, or the stale
//!   record, that it began from. [`Cache::invalidate`] removes that, so the old value goes only to the caller that started
//!   the load. An entry carries the versions that its tags had before its load began, so [`Cache::invalidate_tag`] also
//!   holds for loads that are running, whatever the clocks say. An invalidation that the store did not carry out is
//!   [pending](Cache::pending_invalidations), and carried out before the store is trusted again.
//! - **A near tier that tells the truth.** Its copies go when the change subscription reports a change, and are not used
//!   while it is silent; without a subscription they have a [maximum age](CacheBuilder::near_max_age).
//! - **A store that fails takes nobody with it.** Its calls have a [time limit](CacheBuilder::backend_timeout), and a
//!   [circuit breaker](CacheBuilder::breaker) opens after repeated failures. Values are loaded meanwhile. Only what must
//!   not fail in silence, such as an invalidation, returns an error.
//! - **Garbage is a miss.** A record that is damaged, or of another version, coder, type or key, is an event and is
//!   replaced by the next load.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | hit, miss | a fresh value was found; nothing usable was found |
//! | negative hit | a stored answer that there is no value, or that its load failed |
//! | stale | past freshness, and within one of the two windows after it |
//! | flight | the load of a key in this process, with the callers that wait for it |
//! | lead | the right and the duty to end a flight; held by one caller |
//! | lease | a record in the store that tells other processes that a load runs |
//! | fence | what a fill is conditional on: the lease, or the stale record, that its load began from |
//! | fill | a load on its way into the store, from the fence to the end of the flight |
//! | load stack | the loads that the current task runs in, one within the other |
//! | tag version | what the record of a tag says; an invalidation replaces it |
//! | tag snapshot | the tag versions that a load read before it began, which its entry carries |
//! | tag cache | the tag versions that this process remembers |
//! | epoch | the tag that all entries of a namespace carry, where namespaces are cleared by a tag |
//! | late tag | a tag that is known only after the load |
//! | sequence | numbers in the store by which loads with late tags, and invalidations of tags, are put in order |
//! | slot, page | where the last invalidation of a tag is noted, by the sequence; a record with 64 slots |
//! | near copy | a copy in this process of a value in a store elsewhere |
//! | subscription, heartbeat | the store's reports of changes; its report that there was nothing to report |
//! | unavailable | the store did not answer, or the circuit breaker is open |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `macros` | yes | `#[cached]` and `#[invalidates]` |
//! | `md5` | yes | [`HashedCall`](cache_core::HashedCall), the default key builder of functions |
//! | `cbor` | no | the coder [`Cbor`](cache_core::Cbor) |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod event;
#[cfg(feature = "macros")]
mod function;
mod lease;
mod load;
mod log;
mod near;
mod store;
mod tags;
mod tier;

pub use cache_core;
#[cfg(feature = "macros")]
pub use cache_macros::{cached, invalidates};

pub use self::cache::adapter::{Adapter, Lookup, Refresh};
pub use self::cache::borrowing::Borrowing;
pub use self::cache::builder::CacheBuilder;
pub use self::cache::default_cache::{DefaultCacheIsSet, default_cache, set_default_cache};
pub use self::cache::handle::Cache;
pub use self::cache::invalidate::Soft;
pub use self::cache::invalidation_set::Invalidation;
pub use self::cache::key::IntoKey;
pub use self::event::{Event, LoadFailure, Observer};
#[cfg(feature = "macros")]
#[doc(hidden)]
pub use self::function::__private;
#[cfg(feature = "macros")]
pub use self::function::{CachedEntry, CallError};
pub use self::load::context::{Load, Loaded, Stale};
pub use self::load::error::LoadError;
pub use self::load::fill::{Fill, StoreOutcome};
pub use self::load::policy::Policy;
#[cfg(feature = "macros")]
pub use self::load::shared_error::SharedError;
pub use self::store::record::Found;
pub use self::tags::scope::{Tagger, tagged};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
