//! Checks the sources of the workspace against the order of rooms in `ARCHITECTURE.md`.
//!
//! A *room* is a folder below a crate's `src`, or a file on its own. The rooms of a crate have an order, and a room
//! uses only rooms before it. An *arrow* leads from a file to a file whose definitions it uses; a re-exported name
//! leads to its definition. The check reports
//!
//! - an arrow from a room to a later one,
//! - a file that is in no room, and a room that has no file,
//! - a circle of files, in any crate,
//! - a step of a walk whose file or function does not exist.
//!
//! It resolves names but not types, so a method call is no arrow. Neither are uses in unit tests, and re-exports. A
//! *face*, a file that only declares modules and re-exports, has no arrows.

mod arrows;
mod circles;
mod module;
mod order;
mod report;
mod walks;

pub use self::report::{Report, check};
