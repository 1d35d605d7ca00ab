//! What `#[cached]` and `#[invalidates]` expand to.
//!
//! The attributes know a function's return type as text only. What it is, a `Result` behind an alias or an `Option`,
//! is found out by the compiler, through the [probes](probe); the rest is functions that are generic over the answer.

// What is public in these is so for generated code.
#[allow(missing_docs, missing_debug_implementations)]
mod access;
mod entry;
mod error;
#[allow(missing_docs, missing_debug_implementations)]
mod invalidation;
#[allow(missing_docs, missing_debug_implementations)]
mod key;
#[allow(missing_docs, missing_debug_implementations)]
mod load;
#[allow(missing_docs, missing_debug_implementations)]
mod probe;
#[allow(missing_docs, missing_debug_implementations)]
mod tags;

pub use self::entry::CachedEntry;
pub use self::error::{CallError, SharedError};

/// For the code that the attributes generate only: anything here may change in any release.
#[doc(hidden)]
pub mod __private {
    pub use std::format;
    pub use std::option::Option::{None, Some};
    pub use std::time::Duration;

    pub use cache_macros::{cached_of_axum, cached_of_larder, invalidates_of_axum, invalidates_of_larder};

    pub use super::access::{AsCache, GivenCoder, OwnCoder, as_cache, borrow, default_cache, own, time};
    pub use super::invalidation::*;
    pub use super::key::{CallKey, Displayed, NameOf, Named, argument, key_in, namespace};
    pub use super::load::{Answered, Looked, hit, load_borrowing, load_detached, look};
    pub use super::probe::*;
    pub use super::tags::{TagList, TagText, tag, tags, with_tags};
}
