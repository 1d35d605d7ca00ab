//! `Cache-Control` of requests and responses, and targeted fields, which are for one class of caches (RFC 9111, section
//! 5.2; RFC 9213).
//!
//! The parsers take any number of field lines and never fail. Where a field contradicts itself or cannot be read, they
//! take the reading that caches less: the more restrictive of two values, and zero for an unreadable lifetime.

mod count_down;
mod directive;
mod member;
mod qualified;
mod request;
mod response;
mod targeted;

pub use self::count_down::count_down;
pub use self::directive::Directive;
pub use self::qualified::Qualified;
pub use self::request::RequestDirectives;
pub use self::response::ResponseDirectives;
pub use self::targeted::{Applicable, CDN_CACHE_CONTROL, applicable_directives, parse_targeted};
