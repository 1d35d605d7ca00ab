//! Coders: the conversion of values to bytes and back.

#[cfg(any(feature = "messagepack", feature = "postcard"))]
mod bounded;
#[cfg(feature = "cbor")]
mod cbor;
mod checked;
mod contract;
#[cfg(any(feature = "cbor", feature = "json", feature = "messagepack"))]
mod count;
#[cfg(any(feature = "cbor", feature = "json", feature = "messagepack", feature = "postcard"))]
mod exact;
#[cfg(any(feature = "cbor", feature = "json", feature = "messagepack", feature = "postcard"))]
mod failure;
#[cfg(feature = "json")]
mod json;
#[cfg(any(feature = "cbor", feature = "json", feature = "messagepack", feature = "postcard"))]
mod memory;
mod memory_only;
#[cfg(feature = "messagepack")]
mod messagepack;
#[cfg(feature = "postcard")]
mod postcard;
mod raw;
#[cfg(any(feature = "cbor", feature = "json", feature = "messagepack", feature = "postcard"))]
mod shape;
mod versioned;

#[cfg(feature = "cbor")]
pub use self::cbor::Cbor;
pub use self::checked::{Checked, NotRoundTrip};
pub use self::contract::Coder;
#[cfg(feature = "json")]
pub use self::json::Json;
pub use self::memory_only::MemoryOnly;
#[cfg(feature = "messagepack")]
pub use self::messagepack::MessagePack;
#[cfg(feature = "postcard")]
pub use self::postcard::Postcard;
pub use self::raw::Raw;
pub use self::versioned::Versioned;
