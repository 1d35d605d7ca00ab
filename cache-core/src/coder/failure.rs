//! The errors of the coders on serde.

use std::any::type_name;
use std::fmt::Display;

use crate::error::{Error, ErrorKind};

/// Returns the error of a value that cannot be encoded in a format, or decoded from it.
pub(super) fn cannot<T>(operation: &'static str, format: &str, error: &dyn Display) -> Error {
    Error::new(ErrorKind::Codec, format!("{} as {format}: {error}", type_name::<T>())).with_operation(operation)
}

/// Returns a decoded value, if nothing follows it.
#[cfg(any(feature = "cbor", feature = "messagepack", feature = "postcard"))]
pub(super) fn alone<T>(value: T, rest: &[u8], format: &str) -> Result<T, Error> {
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(cannot::<T>("decode", format, &"more bytes than one value"))
    }
}
