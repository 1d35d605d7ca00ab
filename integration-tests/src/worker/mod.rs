//! Processes of their own that cache, for tests of several processes on one store.
//!
//! A [`Worker`] is the program `cache-worker`. It opens caches on a store and does what it is told by lines of JSON on its
//! standard input ([`Order`]), and says by lines on its standard output what became of it ([`Report`]). What its loads
//! bring, and when, is decided by whoever started it, so a load can be held up for as long as a test likes; and it can be
//! killed.
//!
//! Some of the [`Way`]s to cache are wrong on purpose: they are what a check must be able to tell from the right one.

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
