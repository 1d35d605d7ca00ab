//! May a response be stored and shared (RFC 9111, section 3), and which of its fields?
//!
//! Call [`request_bypass`] before a request is looked up or collapsed, and [`storable`] when its response has arrived.

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
