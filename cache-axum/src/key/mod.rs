//! Keys of requests.

pub(crate) mod query;
pub(crate) mod request;
mod text;
pub(crate) mod url;
