//! The contract of a format.

use bytes::Bytes;

use crate::error::Error;

/// Turns values of type `T` into bytes and back.
///
/// The [name](Self::name) is stored with the bytes. Bytes of a coder with another name are a miss, so change the name when
/// the format changes.
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
    /// Returns the name of the format, of at most 255 bytes.
    fn name(&self) -> &'static str;

    /// Returns the version of the values' type. It is stored beside the name: entries with another version are a miss,
    /// whatever they hold, and an invalidation of their key still reaches them. Wrap a coder in
    /// [`Versioned`](crate::Versioned) to set it.
    ///
    /// The provided method returns 0, which is no version.
    fn type_version(&self) -> u32 {
        0
    }

    /// Encodes `value`.
    ///
    /// # Errors
    /// Fails with [`Codec`](crate::ErrorKind::Codec) if the value has no encoding, or would decode to another value.
    fn encode(&self, value: &T) -> Result<Bytes, Error>;

    /// Decodes `bytes`. The value may keep slices of them.
    ///
    /// # Errors
    /// Fails with [`Codec`](crate::ErrorKind::Codec) if the bytes are not the encoding of a value.
    fn decode(&self, bytes: &Bytes) -> Result<T, Error>;

    /// Returns the length of the encoding of `value` in bytes.
    ///
    /// The provided method encodes the value.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        self.encode(value).map(|bytes| bytes.len())
    }

    /// Returns about how many bytes of memory `value` takes: itself, and what it owns elsewhere.
    ///
    /// A store that keeps objects without encoding them counts this against its bound, once per write. `Json` and
    /// `Cbor` estimate it from what the value serializes; `Raw` knows it. The provided method adds the size of the
    /// value to the length of its encoding, which is too little for values that own many small parts. Implement it by
    /// [`allocated`](crate::allocated) if you know better.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    fn weight(&self, value: &T) -> Result<usize, Error> {
        Ok(self.encoded_len(value)?.saturating_add(size_of_val(value)))
    }

    /// Returns whether two values are the same, as far as a reader of the cache can see. The engine compares values so
    /// when it [verifies](https://docs.rs/cache-engine/latest/cache_engine/struct.CacheBuilder.html#method.verify) hits.
    ///
    /// The provided method compares their encodings. `Json` takes maps in another order for the same, but not sets, which
    /// are arrays there. [`Checked`](crate::Checked) compares the values themselves.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    fn is_same(&self, left: &T, right: &T) -> Result<bool, Error> {
        Ok(self.encode(left)? == self.encode(right)?)
    }
}
