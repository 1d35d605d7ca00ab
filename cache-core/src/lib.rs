//! The contracts of the caching toolkit.

mod backend;
mod clock;
mod coder;
#[cfg(feature = "conformance")]
pub mod conformance;
mod envelope;
mod error;
mod etag;
mod key;
mod key_builder;
mod record;
mod ttl;
mod windows;

pub use async_trait::async_trait;

pub use self::backend::{Backend, Capabilities, EvictionListener, Limits, SetMode, SetOptions, SetOutcome};
pub use self::clock::{Clock, ManualClock, SystemClock, Timestamp};
#[cfg(feature = "cbor")]
pub use self::coder::Cbor;
#[cfg(feature = "json")]
pub use self::coder::Json;
pub use self::coder::{Coder, Raw};
pub use self::envelope::{EntryKind, Envelope, EnvelopeError, Tags};
pub use self::error::{Error, ErrorKind};
pub use self::etag::{ETag, EntityTags};
pub use self::key::{Key, KeyName, Namespace, Prefix, Scope};
#[cfg(feature = "md5")]
pub use self::key_builder::HashedCall;
pub use self::key_builder::{FunctionCall, KeyBuilder, ReadableCall};
pub use self::record::{Record, SharedValue, Value, Version, VersionSource};
pub use self::ttl::Ttl;
pub use self::windows::Windows;
