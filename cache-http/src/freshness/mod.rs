//! How long a stored response is fresh, how old it is, and how it may be used (RFC 9111, section 4.2; RFC 5861).

mod lifetime;
mod reuse;

pub use self::lifetime::{Lifetime, LifetimeSource};
pub use self::reuse::Reuse;
