//! Random histories of several processes on one store, each read of which is checked against the guarantee: after an
//! invalidation has returned, no read that begins later, in any process on the store, is given a value whose load began
//! before it.
//!
//! A history has a few keys of its own and a few callers, each of whom does a few things by the caches of several
//! [workers](crate::worker): looks up, loads, writes, invalidates. What is cached is a number that names the moment at
//! which its load read the source, so a read tells by itself whether it is too old ([`Record`]). Loads are answered by
//! the one who keeps this record and may be held up between reading the source and returning, until somebody has
//! invalidated the key, say. Everything that is decided by chance is decided by the history's seed ([`Plan`]), so a
//! history can be played again; how the processes then interleave is up to the machine.
//!
//! [`run`] plays any number of them, many at a time, and tells what it found. `scripts/histories` is that as a program.

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
