//! Keys of requests.

pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod routing;
mod text;
pub(crate) mod url;
