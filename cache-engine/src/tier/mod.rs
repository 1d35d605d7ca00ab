//! The storage tier: reading the store, its tags and the near copies as one.

pub(crate) mod invalidate;
pub(crate) mod pending;
mod pending_file;
pub(crate) mod precondition;
pub(crate) mod read;
pub(crate) mod storage;
pub(crate) mod target;
