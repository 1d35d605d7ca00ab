//! The test kit that every backend runs.
//!
//! For authors of backends. The contract of [`Backend`](crate::Backend) is long: any text is a key, any bytes are a value,
//! no record ends early, none stays for ever, one of many concurrent writers wins, and a dropped call never spoils the
//! next one. The kit has a check for each of these. One line in a backend's own tests runs each check as a test:
//!
//! ```
//! # #[derive(Debug, Default)]
//! # struct MyBackend;
//! # #[cache_core::async_trait]
//! # impl cache_core::Backend for MyBackend {
//! #     async fn get(&self, _: &cache_core::Key) -> Result<Option<cache_core::Record>, cache_core::Error> { Ok(None) }
//! #     async fn set(&self, _: &cache_core::Key, _: cache_core::Value, _: cache_core::SetOptions)
//! #         -> Result<cache_core::SetOutcome, cache_core::Error> { Ok(cache_core::SetOutcome::Refused) }
//! #     async fn delete(&self, _: &cache_core::Key) -> Result<bool, cache_core::Error> { Ok(false) }
//! # }
//! # impl MyBackend { async fn connect() -> Self { Self } }
//! cache_core::conformance!(MyBackend::connect().await, declares: []);
//! ```
//!
//! The expression is evaluated once for each check. It returns a handle, which is [closed](crate::Backend::close) after
//! the check. The store behind it may be new or shared: each check writes under a random prefix, so the checks can run at
//! the same time, also on a store that others use. They remove what they wrote if the store can
//! [`clear`](crate::Backend::clear); otherwise it expires within an hour.
//!
//! # What the backend declares
//!
//! Some checks apply only to a backend that declares a capability or a limit. The list after `declares:` says which ones
//! this backend declares:
//!
//! | name | is |
//! |---|---|
//! | `clear` | [`Capabilities::clear`](crate::Capabilities) |
//! | `shared_objects` | [`Capabilities::shared_objects`](crate::Capabilities) |
//! | `subscribe` | [`Capabilities::subscribe`](crate::Capabilities) |
//! | `value_bytes` | [`Limits::value_bytes`](crate::Limits), of at most 1 GiB; a larger limit is not tried |
//!
//! The list decides which checks run, and one check fails if the backend declares anything else. So a check that does not
//! run is one that you have said does not apply, never one that the backend forgot.
//!
//! # Clock and size
//!
//! The expression may also return a [`Subject`], which sets how thorough the checks are and which clock drives the
//! backend:
//!
//! ```
//! # #![allow(unused_imports)]
//! # #[derive(Debug, Default)]
//! # struct MyBackend;
//! # #[cache_core::async_trait]
//! # impl cache_core::Backend for MyBackend {
//! #     async fn get(&self, _: &cache_core::Key) -> Result<Option<cache_core::Record>, cache_core::Error> { Ok(None) }
//! #     async fn set(&self, _: &cache_core::Key, _: cache_core::Value, _: cache_core::SetOptions)
//! #         -> Result<cache_core::SetOutcome, cache_core::Error> { Ok(cache_core::SetOutcome::Refused) }
//! #     async fn delete(&self, _: &cache_core::Key) -> Result<bool, cache_core::Error> { Ok(false) }
//! # }
//! # impl MyBackend { fn with_clock(_: ManualClock) -> Self { Self } }
//! use cache_core::ManualClock;
//! use cache_core::conformance::Subject;
//!
//! cache_core::conformance!({
//!     let clock = ManualClock::new();
//!     Subject::new(MyBackend::with_clock(clock.clone())).with_clock(clock).with_entries(1_000)
//! }, declares: []);
//! ```
//!
//! To test two stores in one file, put each line in a module of its own.
//!
//! # What is checked
//!
//! | group | guards |
//! |---|---|
//! | values | empty, binary, large and overwritten values; values over [`Limits::value_bytes`](crate::Limits) |
//! | keys | Unicode, control characters, patterns, look-alikes and keys of any length |
//! | capabilities | the capabilities and limits are those after `declares:` |
//! | lifetimes | 1 ms to 31 days and none: never gone early, never immortal; the remaining lifetime |
//! | versions | a new one on every write, never used again; `version` gives that of the record |
//! | modes | `IfAbsent`, `IfVersion` and `get_or_add`, one by one and under concurrent writers |
//! | deletes | `delete`, `delete_if` and what they report |
//! | batches | order, duplicates, missing keys, any size |
//! | clears | boundaries, literal names, counts, leases; or that `clear` is refused |
//! | cancellation | futures dropped after any number of polls |
//! | handle | `ping`, `close`, shared objects |
//! | subscriptions | every change is reported, in its scope only, and before the next heartbeat; or that `subscribe` is refused |
//! | model | random calls against a map; `CONFORMANCE_SEED` repeats a run |
//!
//! # Time
//!
//! With a [clock](Subject::with_clock), the checks move it and do not wait. Without one they wait in real time, some ten
//! seconds in all, which the threads of the test run share. A store may keep a record too long by less than the
//! [slack](Subject::with_slack), but never drop it early (by more than the two milliseconds that clocks may differ).

mod batches;
mod cancellation;
mod capabilities;
mod checks;
mod clears;
mod declared;
mod deletes;
mod handle;
mod keys;
mod lifetimes;
mod model;
mod modes;
mod subject;
mod subscriptions;
mod trial;
mod values;
mod versions;

#[doc(hidden)]
pub use self::checks::__test;
pub use self::checks::{Check, Outcome, checks};
pub use self::declared::Declared;
pub use self::subject::Subject;
