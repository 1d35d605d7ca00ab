//! A coder for values that are never encoded.

use bytes::Bytes;

use crate::coder::contract::Coder;
use crate::error::{Error, ErrorKind};

/// For caches in memory alone: takes every value, also one that cannot be serialized.
///
/// A store in this process, such as a `MemoryBackend`, keeps values as objects and never encodes them. With any other store,
/// the engine refuses to build a cache with this coder.
///
/// A value is taken to weigh as much as itself, without what it owns elsewhere. If the store has a bound in bytes,
/// [implement `Coder`](Coder) for a type of your own with another [`weight`](Coder::weight), or bound the number of entries.
///
/// ```
/// use cache_core::{Coder, ErrorKind, MemoryOnly};
///
/// struct Compiled(Box<dyn Fn(u32) -> u32 + Send + Sync>);
///
/// let value = Compiled(Box::new(|number| number + 1));
/// assert!(MemoryOnly.weight(&value).is_ok());
/// assert_eq!(MemoryOnly.encode(&value).unwrap_err().kind(), ErrorKind::Codec);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryOnly;

impl<T> Coder<T> for MemoryOnly {
    fn name(&self) -> &'static str {
        "memory-only"
    }

    /// # Errors
    /// Always.
    fn encode(&self, _: &T) -> Result<Bytes, Error> {
        Err(cannot::<T>("encode"))
    }

    /// # Errors
    /// Always.
    fn decode(&self, _: &Bytes) -> Result<T, Error> {
        Err(cannot::<T>("decode"))
    }

    fn weight(&self, value: &T) -> Result<usize, Error> {
        Ok(size_of_val(value))
    }
}

fn cannot<T>(operation: &'static str) -> Error {
    let message = format!(
        "a `{}` stays in memory by the coder `MemoryOnly`: use another coder for stores outside of this process",
        std::any::type_name::<T>()
    );
    Error::new(ErrorKind::Codec, message).with_operation(operation)
}
