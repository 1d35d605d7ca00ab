//! Tools for tests: gates, a store that fails on demand, and a wait until all tasks are idle.
//!
//! For service authors who test what happens while a value is loaded or while the store is away, and for authors of
//! backends and adapters. Together with [`ManualClock`](crate::ManualClock) they replace sleeping in tests:
//!
//! | to test | use |
//! |---|---|
//! | what happens when a value has expired | [`ManualClock::advance`](crate::ManualClock::advance) |
//! | what happens while something is loaded | a [`Gate`] in the loader |
//! | what happens without a store | [`FaultyBackend::fail`], [`FaultyBackend::hang`] |
//! | that nothing more happens | [`idle`] |
//!
//! Enable the feature `testing` under `[dev-dependencies]` only.

mod faulty;
mod gate;
mod idle;

pub use self::faulty::FaultyBackend;
pub use self::gate::Gate;
pub use self::idle::idle;
