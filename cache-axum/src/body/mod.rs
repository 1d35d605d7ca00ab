//! Streaming bodies: collected, shared with their readers (tee), and cut to a range.

pub(crate) mod buffer;
pub(crate) mod collect;
pub(crate) mod range;
pub(crate) mod tee;
