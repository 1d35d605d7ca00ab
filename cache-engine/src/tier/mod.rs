//! The storage tier: reads the store, its tags and the near copies together.

pub(crate) mod invalidate;
pub(crate) mod pending;
mod pending_file;
pub(crate) mod precondition;
pub(crate) mod purger;
pub(crate) mod purges;
pub(crate) mod read;
pub(crate) mod storage;
pub(crate) mod target;
