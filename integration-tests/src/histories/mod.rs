//! Random histories of several processes on one store. Each read is checked against the guarantee: after an
//! invalidation has returned, no later read in any process returns a value whose load began before the invalidation.
//!
//! A history has a few keys of its own and a few callers. Each caller makes a few calls to the caches of several
//! [workers](crate::worker): it reads, loads, writes, invalidates. A cached value is a number that identifies the
//! moment at which its load read the source, so the value itself shows whether it is too old ([`Record`]). The test
//! process answers the loads, and may delay one between reading the source and returning, for example until the key has
//! been invalidated. The history's seed decides all random choices ([`Plan`]), so that a history can be repeated. How
//! the processes interleave depends on the machine.
//!
//! [`run`] plays many histories at a time, and returns what it found. `scripts/histories` runs it as a program.

mod counts;
mod fleet;
mod plan;
mod play;
mod record;
mod run;
mod store;

pub use counts::Counts;
pub use plan::{Kind, Plan};
pub use record::{Floor, Reader, Record, Scope};
pub use run::{Options, Summary, run};
pub use store::Store;
