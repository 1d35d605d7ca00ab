//! Worker processes with caches, for tests of several processes on one store.
//!
//! A [`Worker`] runs the program `cache-worker`. It opens caches on a store, reads commands as lines of JSON from its
//! standard input ([`Order`]), and writes their outcomes to its standard output ([`Report`]). The test process decides
//! what its loads return and when, so a test can delay a load as long as it likes. It can also kill the worker.
//!
//! Some of the [`Way`]s to cache are wrong on purpose. They are the negative controls of checks.

mod loads;
mod node;
mod outcome;
mod perform;
mod process;
mod protocol;
mod serve;
mod stamps;
mod stores;
mod ways;

pub use process::{Gone, LoadAsk, Worker};
pub use protocol::{Action, Answer, Borne, CacheId, Near, Order, Outcome, Report, Seen, Settings, Tag, Way};
pub use serve::serve;
