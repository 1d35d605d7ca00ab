//! `Cache-Control` of requests and responses (RFC 9111, section 5.2).
//!
//! The parser takes any number of field lines and never fails. Where a field contradicts itself or cannot be read, the
//! reading that caches less is taken: of two values the more restrictive, of an unreadable lifetime zero.

mod parse;
mod request;
mod response;

pub use self::request::RequestDirectives;
pub use self::response::{Qualified, ResponseDirectives, count_down};

/// The largest number of seconds that a directive can ask for; larger ones count as this (RFC 9111, section 1.2.2).
pub const MAX_SECONDS: u32 = 1 << 31;

/// A directive that this crate gives no meaning to, as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Directive {
    /// The name in lower case.
    pub name: String,
    /// The argument without quotes, if there is one.
    pub argument: Option<String>,
}
