//! Bodies on their way: collected, teed to the one who reads, cut to a range.

pub(crate) mod buffer;
pub(crate) mod collect;
pub(crate) mod range;
pub(crate) mod tee;
