//! What callers of a cache see while its store is down: each [`Fault`] on each [`Store`], under load, as one table.
//!
//! A cache reaches its store through a `proxy`. A `cell` of the table is a healthy time, an outage, and the
//! time after it. A `load` asks all the while for keys that are warm, cold, and asked for by several callers, and
//! notes what each caller got and when. [`run`] plays cells of different stores at the same time. The goals that a
//! [`Row`] is held against are in [`Goals`].
//!
//! A cache of another [`Way`], without time limits and breaker, is the negative control.
//!
//! `tests/chaos.rs` plays each cell for a few seconds, and `scripts/chaos` for as long as you like.

mod cell;
mod fault;
mod full;
mod load;
mod memory;
mod proxy;
mod refusal;
mod rig;
mod run;
mod store;
mod table;
mod way;

pub use cell::Plan;
pub use fault::Fault;
pub use load::Pace;
pub use run::run;
pub use store::Store;
pub use table::{Goals, Row, Table};
pub use way::Way;
