//! Which variant of a URL a request selects (RFC 9111, section 4.1).

mod accept;
mod key;
mod no_vary_search;
mod normalization;
mod vary;

pub use self::key::variant_key;
pub use self::no_vary_search::{NO_VARY_SEARCH, NoVarySearch};
pub use self::normalization::{Normalization, Preference};
pub use self::vary::Vary;
