//! A coder that checks what it encodes.

use std::fmt;

use bytes::Bytes;

use crate::coder::contract::Coder;
use crate::error::{Error, ErrorKind};

/// Checks that each value decodes to what was encoded, for tests and debugging.
///
/// `Checked(coder)` encodes as `coder` does, and then decodes the bytes and compares. A value that comes back as another one is
/// an error with the source [`NotRoundTrip`], so it is not stored. What serde skips, rounds or flattens is found on the first
/// store, also in a store that keeps values as they are.
///
/// Records are those of `coder`: a service can be checked in one deployment and not in the next. Each store decodes a value
/// once more, so leave the check out where that matters.
///
/// ```
/// use cache_core::{Checked, Coder, Raw};
///
/// let coder = Checked(Raw);
/// assert_eq!(coder.encode(&"text".to_owned())?, "text");
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked<C>(pub C);

impl<T: PartialEq, C: Coder<T>> Coder<T> for Checked<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn type_version(&self) -> u32 {
        self.0.type_version()
    }

    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        let bytes = self.0.encode(value)?;
        let type_name = std::any::type_name::<T>();
        let decoded = self.0.decode(&bytes).map_err(|error| {
            let message = format!("a `{type_name}` was encoded and cannot be decoded: {error}");
            Error::new(ErrorKind::Codec, message).with_source(NotRoundTrip)
        })?;
        if decoded == *value {
            return Ok(bytes);
        }
        let message = format!("a `{type_name}` is not the same after it was encoded and decoded");
        Err(Error::new(ErrorKind::Codec, message).with_source(NotRoundTrip))
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        self.0.decode(bytes)
    }

    fn is_same(&self, left: &T, right: &T) -> Result<bool, Error> {
        Ok(left == right)
    }

    fn weight(&self, value: &T) -> Result<usize, Error> {
        self.encode(value)?;
        self.0.weight(value)
    }
}

/// The source of the error of [`Checked`] about a value that is not the same after it was encoded and decoded.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRoundTrip;

impl fmt::Display for NotRoundTrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the coder does not return what it was given")
    }
}

impl std::error::Error for NotRoundTrip {}
