//! May a response be stored and shared (RFC 9111, section 3), and which of its fields?
//!
//! [`request_bypass`] is asked before anything is looked up or collapsed; [`storable`] when the response is there.

mod later_get;
mod reason;
mod request;
mod storable;
mod stored_fields;

pub use self::later_get::answers_later_get;
pub use self::reason::Reason;
pub use self::request::{may_collapse, request_bypass};
pub(crate) use self::storable::refuses_set_cookie;
pub use self::storable::{Storable, storable};
pub use self::stored_fields::prepare_for_store;
