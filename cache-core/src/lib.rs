//! The contracts of the caching toolkit.
//!
//! To cache an axum app or an async function, start with `larder`, `cache-axum` or `cache-engine`, which re-export what you
//! need from here. Use this crate to add a store, a format or a way to make keys. It knows no store, no runtime and no web
//! framework.
//!
//! # The contracts
//!
//! | contract | defines | implementations |
//! |---|---|---|
//! | [`Backend`] | how a store is read and written | none here; `cache-memory`, `cache-redis`, `cache-memcached`, `cache-dynamodb` |
//! | [`Coder`] | how a value becomes bytes | [`Raw`], `Json`, `Cbor`, `MessagePack`, `Postcard`; [`MemoryOnly`], for values that stay in memory; [`Checked`], which compares what comes back |
//! | [`KeyBuilder`] | the key of a call or a request | `HashedCall`, [`ReadableCall`], any closure |
//! | [`Clock`] | the current time | [`SystemClock`], [`ManualClock`] for tests |
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | [key](Key), [namespace](Namespace), [prefix](Prefix) | a key is a name in a namespace below a prefix: `shop:users:42` |
//! | [scope](Scope) | all keys of a namespace, or all keys below a prefix |
//! | identity | the bytes that a shortened key name stands for, stored with the value and compared when it is read |
//! | [record](Record) | what a store holds under a key: a [value](Value), a version and the remaining lifetime |
//! | [version](Version) | an opaque token that changes on every write of a record |
//! | [lifetime](Ttl) | how long a store keeps a record; never zero, and never rounded down |
//! | [mode](SetMode) | the condition under which a write is carried out |
//! | lease | a small record that says that a load is running |
//! | [envelope](Envelope) | the stored form of an entry: the encoded value and whatever is needed to use it again |
//! | [freshness windows](FreshnessWindows) | how long an entry is fresh, and how long its stale copy may be used |
//! | [tag](Tags) | a name that entries carry, with the version that it had when they were loaded |
//! | [change](Change), [subscription](Subscription), heartbeat | a subscription reports changes of records; a heartbeat says up to which moment it has reported all |
//! | [unreadable](Value::unreadable) | the value of a record that is there, and that a backend cannot read, such as an encrypted one |
//! | shared object | a value that a store in this process keeps as it is, without encoding it |
//!
//! Every failure is an [`Error`] of an [`ErrorKind`].
//!
//! # How a record travels
//!
//! 1. A [`KeyBuilder`] makes a [`KeyName`] of a call: `5f3c…`, with the identity that it stands for.
//! 2. The [`Namespace`] makes it a [`Key`]: `shop:users:5f3c…`.
//! 3. The [`Coder`] encodes the value.
//! 4. The [`Envelope`] adds what is needed to use the bytes again: coder, creation time, [`FreshnessWindows`], [`Tags`], the
//!    whole key and a checksum.
//! 5. The [`Backend`] stores the envelope, if the [`SetMode`] allows it.
//!
//! On the way back, each of these is a miss: a record past its lifetime, damaged bytes, a newer format, another coder,
//! and another key with the same name.
//!
//! A store in this process can skip steps 3 and 4: it keeps the object itself as [`Value::Shared`].
//!
//! # Write a backend
//!
//! A backend has three methods, and two more, [`ping`](Backend::ping) and [`close`](Backend::close), to pass the test kit.
//! Each `set` and `delete` is atomic, versions change on every write, and a record past its lifetime is absent:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
//!
//! use cache_core::{
//!     Backend, Clock, Error, Key, Record, SetMode, SetOptions, SetOutcome, Timestamp, Value, Version, VersionSource,
//!     async_trait,
//! };
//!
//! #[derive(Debug)]
//! struct MapBackend {
//!     records: Mutex<HashMap<Key, Stored>>,
//!     versions: VersionSource,
//!     clock: Arc<dyn Clock>,
//! }
//!
//! #[derive(Debug)]
//! struct Stored {
//!     value: Value,
//!     version: Version,
//!     deadline: Option<Timestamp>,
//! }
//!
//! impl Stored {
//!     fn is_live(&self, now: Timestamp) -> bool {
//!         self.deadline.is_none_or(|deadline| now < deadline)
//!     }
//! }
//!
//! impl MapBackend {
//!     fn new(clock: Arc<dyn Clock>) -> Self {
//!         Self { records: Mutex::default(), versions: VersionSource::new(), clock }
//!     }
//!
//!     fn records(&self) -> MutexGuard<'_, HashMap<Key, Stored>> {
//!         self.records.lock().unwrap_or_else(PoisonError::into_inner)
//!     }
//! }
//!
//! #[async_trait]
//! impl Backend for MapBackend {
//!     async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
//!         let now = self.clock.now();
//!         Ok(self.records().get(key).filter(|stored| stored.is_live(now)).map(|stored| {
//!             let remaining = stored.deadline.map(|deadline| deadline.saturating_since(now));
//!             Record::new(stored.value.clone(), stored.version, remaining)
//!         }))
//!     }
//!
//!     async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
//!         let now = self.clock.now();
//!         // One lock for the check and the write makes them one step.
//!         let mut records = self.records();
//!         let current = records.get(key).filter(|stored| stored.is_live(now)).map(|stored| stored.version);
//!         let allowed = match options.mode {
//!             SetMode::Always => true,
//!             SetMode::IfAbsent => current.is_none(),
//!             SetMode::IfVersion(version) => current == Some(version),
//!         };
//!         if !allowed {
//!             return Ok(SetOutcome::Refused);
//!         }
//!         let version = self.versions.next();
//!         let deadline = options.ttl.as_duration().map(|ttl| now + ttl);
//!         records.insert(key.clone(), Stored { value, version, deadline });
//!         Ok(SetOutcome::Stored(version))
//!     }
//!
//!     async fn delete(&self, key: &Key) -> Result<bool, Error> {
//!         let now = self.clock.now();
//!         Ok(self.records().remove(key).is_some_and(|stored| stored.is_live(now)))
//!     }
//! }
//!
//! # use std::time::Duration;
//! # use bytes::Bytes;
//! # use cache_core::{ManualClock, Prefix};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let clock = ManualClock::new();
//! let backend = MapBackend::new(Arc::new(clock.clone()));
//! let key = Prefix::new("shop").namespace("users").key("42");
//! let options = SetOptions::new(Duration::from_secs(1));
//!
//! let first = backend.set(&key, Bytes::from("Ada").into(), options.if_absent()).await?;
//! assert_eq!(backend.set(&key, Bytes::from("Bob").into(), options.if_absent()).await?, SetOutcome::Refused);
//! assert_eq!(backend.get(&key).await?.map(|record| record.version), first.version());
//!
//! clock.advance(Duration::from_secs(1));
//! assert!(backend.get(&key).await?.is_none());
//! # assert!(!backend.delete(&key).await?);
//! # Ok(())
//! # }
//! ```
//!
//! The engine needs no more than this. The test kit (the feature `conformance`, and one line in your tests) also requires
//! that every call fails with [`Unavailable`](ErrorKind::Unavailable) after `close`. A real backend also bounds its memory,
//! declares in [`Backend::capabilities`] what else it can do, and, over a network, has more that can fail: see what
//! [every method guarantees](Backend#what-every-method-guarantees).
//!
//! # Features
//!
//! | feature | by default | what it adds |
//! |---|---|---|
//! | `json` | yes | the coder `Json` (serde_json) |
//! | `md5` | yes | the key builder `HashedCall` (md-5) |
//! | `cbor` | no | the coder `Cbor` (ciborium) |
//! | `messagepack` | no | the coder `MessagePack` (rmp-serde) |
//! | `postcard` | no | the coder `Postcard` |
//! | `conformance` | no | the test kit that every backend runs; for `[dev-dependencies]` |
//! | `testing` | no | gates, a store that fails on demand and more for tests; for `[dev-dependencies]` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod allocation;
mod backend;
mod clock;
mod coder;
#[cfg(feature = "conformance")]
pub mod conformance;
mod envelope;
mod error;
mod freshness_windows;
mod jitter;
mod key;
mod key_builder;
#[cfg(feature = "md5")]
mod md5_hex;
mod optional_duration;
mod record;
#[cfg(feature = "testing")]
pub mod testing;
mod ttl;

pub use async_trait::async_trait;
pub use bytes::Bytes;

pub use self::allocation::allocated;
pub use self::backend::{
    Backend, Capabilities, Change, EvictionListener, GetOrAdd, Limits, SetMode, SetOptions, SetOutcome, Subscription,
    Usage, View,
};
pub use self::clock::{Clock, ManualClock, SystemClock, Timestamp};
#[cfg(feature = "cbor")]
pub use self::coder::Cbor;
#[cfg(feature = "json")]
pub use self::coder::Json;
#[cfg(feature = "messagepack")]
pub use self::coder::MessagePack;
#[cfg(feature = "postcard")]
pub use self::coder::Postcard;
pub use self::coder::{Checked, Coder, MemoryOnly, NotRoundTrip, Raw, Versioned};
pub use self::envelope::{EntryKind, Envelope, EnvelopeError, Tags};
pub use self::error::{Error, ErrorKind};
pub use self::freshness_windows::FreshnessWindows;
pub use self::jitter::{jittered, random};
pub use self::key::{Key, KeyName, KeyWriter, Namespace, Prefix, Scope};
#[cfg(feature = "md5")]
pub use self::key_builder::HashedCall;
pub use self::key_builder::{FunctionCall, KeyBuilder, ReadableCall};
pub use self::optional_duration::OptionalDuration;
pub use self::record::{Record, SharedValue, Value, Version, VersionSource};
pub use self::ttl::Ttl;

/// The README's code is compiled and run with the tests.
#[cfg(all(doctest, feature = "json", feature = "md5"))]
#[doc = include_str!("../README.md")]
struct Readme;
