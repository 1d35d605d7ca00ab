//! How values become bytes and bytes become values.

#[cfg(feature = "cbor")]
mod cbor;
#[cfg(feature = "json")]
mod json;
mod raw;

#[cfg(any(feature = "cbor", feature = "json"))]
use std::io;

use bytes::Bytes;

#[cfg(feature = "cbor")]
pub use self::cbor::Cbor;
#[cfg(feature = "json")]
pub use self::json::Json;
pub use self::raw::Raw;
use crate::Error;

/// Turns values of type `T` into bytes and back.
///
/// The [name](Self::name) is stored with the bytes; bytes of another coder are a miss, not garbage. Change the name
/// when the format changes.
///
/// ```
/// use bytes::Bytes;
/// use cache_core::{Coder, Error, ErrorKind};
///
/// /// Keeps a number as its eight bytes.
/// #[derive(Debug, Clone, Copy)]
/// struct BigEndian;
///
/// impl Coder<u64> for BigEndian {
///     fn name(&self) -> &'static str {
///         "u64-be"
///     }
///
///     fn encode(&self, value: &u64) -> Result<Bytes, Error> {
///         Ok(Bytes::copy_from_slice(&value.to_be_bytes()))
///     }
///
///     fn decode(&self, bytes: &Bytes) -> Result<u64, Error> {
///         let bytes = bytes[..].try_into().map_err(|_| Error::new(ErrorKind::Codec, "not eight bytes"))?;
///         Ok(u64::from_be_bytes(bytes))
///     }
/// }
/// ```
pub trait Coder<T>: Send + Sync + 'static {
    /// The name of the format, at most 255 bytes.
    fn name(&self) -> &'static str;

    /// The bytes of `value`.
    ///
    /// # Errors
    /// [`Codec`](crate::ErrorKind::Codec) if the value has no encoding.
    fn encode(&self, value: &T) -> Result<Bytes, Error>;

    /// The value of `bytes`. It may keep slices of them.
    ///
    /// # Errors
    /// [`Codec`](crate::ErrorKind::Codec) if the bytes are not the encoding of a value.
    fn decode(&self, bytes: &Bytes) -> Result<T, Error>;

    /// How many bytes `value` would be. Stores that keep objects as they are weigh them by this, once, when they are
    /// written.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        self.encode(value).map(|bytes| bytes.len())
    }
}

/// Counts the bytes that are written to it.
#[cfg(any(feature = "cbor", feature = "json"))]
#[derive(Default)]
struct Count(usize);

#[cfg(any(feature = "cbor", feature = "json"))]
impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
