//! The responses that clients get, and their header fields.

pub(crate) mod detail;
pub(crate) mod from_entry;
pub(crate) mod header_value;
pub(crate) mod headers;
pub(crate) mod passing;
pub(crate) mod report;
