//! Validation of stored responses by the origin (RFC 9111, section 4.3).

mod answer;
mod freshen;
mod request;

pub use self::answer::{Validation, head_confirms, is_freshened_by, validation};
pub use self::freshen::freshen;
pub use self::request::make_conditional;
