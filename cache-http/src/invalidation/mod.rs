//! What an unsafe request invalidates (RFC 9111, section 4.4; RFC 9875).

mod groups;
mod method;
mod uris;

pub use self::groups::{CACHE_GROUP_INVALIDATION, CACHE_GROUPS, cache_groups, invalidated_groups};
pub use self::method::is_safe;
pub use self::uris::{invalidated_targets, invalidated_uris};
