//! The answers that clients get, and what their header fields say.

pub(crate) mod cache_status;
pub(crate) mod detail;
pub(crate) mod from_entry;
pub(crate) mod header_value;
pub(crate) mod headers;
pub(crate) mod passing;
