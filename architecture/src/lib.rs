//! Holds the sources of the workspace against the order of rooms in `ARCHITECTURE.md`.
//!
//! A *room* is a folder below a crate's `src`, or a file on its own. The rooms of a crate stand in one order, and a room
//! uses only rooms before it. An *arrow* leads from a file to the file that defines what it names; names that are
//! re-exported lead to where they are defined. The check reports
//!
//! - an arrow from a room to a later one,
//! - a file that stands in no room, and a room that has no file,
//! - a circle of files, in any crate,
//! - a step of a walk whose file or function is not there.
//!
//! It reads names, as a compiler does, but no types: a method call draws no arrow. Neither do unit tests and re-exports. A
//! *face*, a file that only declares modules and re-exports, is no end of an arrow.

mod arrows;
mod circles;
mod module;
mod order;
mod report;
mod walks;

pub use self::report::{Report, check};
