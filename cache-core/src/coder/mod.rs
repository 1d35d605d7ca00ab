//! Coders: the conversion of values to bytes and back.

#[cfg(feature = "cbor")]
mod cbor;
mod checked;
mod contract;
#[cfg(any(feature = "cbor", feature = "json"))]
mod count;
#[cfg(any(feature = "cbor", feature = "json"))]
mod exact;
#[cfg(feature = "json")]
mod json;
#[cfg(any(feature = "cbor", feature = "json"))]
mod memory;
mod raw;
mod versioned;

#[cfg(feature = "cbor")]
pub use self::cbor::Cbor;
pub use self::checked::{Checked, NotRoundTrip};
pub use self::contract::Coder;
#[cfg(feature = "json")]
pub use self::json::Json;
pub use self::raw::Raw;
pub use self::versioned::Versioned;
