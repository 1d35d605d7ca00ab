//! The target of a request, its normal form, and references to others (RFC 9110, section 7.1; RFC 3986).

mod content_location;
mod host;
mod normal_form;
mod reference;
mod target_uri;

pub use self::content_location::is_content_of_target;
pub use self::host::{HostConflict, target_authority};
pub use self::normal_form::{normal_authority, normal_path};
pub(crate) use self::reference::{resolve, same_origin};
pub use self::target_uri::target_uri;
