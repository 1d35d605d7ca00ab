//! Streaming bodies: collected, shared with their readers (tee), and cut to a range.

pub(crate) mod buffer;
pub(crate) mod collect;
pub(crate) mod cut_to_range;
pub(crate) mod last_piece;
pub(crate) mod tee;
