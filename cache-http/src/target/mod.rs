//! The target of a request, and references to others (RFC 9110, section 7.1; RFC 3986).

mod host;
mod reference;
mod target_uri;

pub use self::host::{HostConflict, target_authority};
pub(crate) use self::reference::{path_and_query, resolve, same_origin};
pub use self::target_uri::target_uri;
