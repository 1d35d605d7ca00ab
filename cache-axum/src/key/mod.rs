//! Keys of requests.

pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod url;
