//! The Postcard coder.

use bytes::Bytes;
use postcard::ser_flavors::Size;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::coder::bounded::Bounds;
use crate::coder::contract::Coder;
use crate::coder::exact::{Exact, Rules};
use crate::coder::failure::{alone, cannot};
use crate::coder::memory::weight;
use crate::coder::shape::Shape;
use crate::error::Error;

/// The name of the format in errors.
const FORMAT: &str = "Postcard";

/// The digest of the value's shape, after the value.
const DIGEST_LEN: usize = size_of::<u32>();

/// [Postcard](https://postcard.jamesmunns.com), a small and fast format for Rust programs.
///
/// Postcard writes neither names nor types, so its bytes alone could be read as another type. Four bytes are added to them:
/// a digest of the value's shape, with the names of its fields and variants. After a change of the type, old records are
/// misses, and never decode to wrong values. Only Rust programs that use this coder and the same type read them.
///
/// What is decoded equals what was encoded. Types must not depend on a format that describes itself: `skip_serializing_if` is
/// an error when a value is encoded, and `alias`, `flatten`, `untagged` and an internal `tag` are errors when it is encoded
/// or decoded. [`Checked`](crate::Checked) finds them in a test. Values may be nested 128 deep, and have as many parts as
/// bytes, or 65,536.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Postcard;

impl<T: Serialize + DeserializeOwned> Coder<T> for Postcard {
    fn name(&self) -> &'static str {
        "postcard"
    }

    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        let shape = Shape::default();
        let mut bytes =
            postcard::to_extend(&Exact::new(value, Rules::noting(&shape)), Vec::new()).map_err(|error| match shape
                .left_out()
            {
                Some(field) => {
                    let reason = format!(
                        "the field `{field}` is left out by `skip_serializing_if`, and Postcard does not write which \
                         fields there are: remove the attribute, or use another coder"
                    );
                    cannot::<T>("encode", FORMAT, &reason)
                }
                None => cannot::<T>("encode", FORMAT, &error),
            })?;
        bytes.extend(shape.digest().to_be_bytes());
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        let (value, digest) = bytes
            .split_last_chunk::<DIGEST_LEN>()
            .ok_or_else(|| cannot::<T>("decode", FORMAT, &"too short"))?;
        let bounds = Bounds::new(value.len());
        let mut deserializer = postcard::Deserializer::from_bytes(value);
        let decoded = T::deserialize(bounds.around(&mut deserializer)).map_err(|error| match bounds.exceeded() {
            Some(bound) => cannot::<T>("decode", FORMAT, &bound),
            None => cannot::<T>("decode", FORMAT, &error),
        })?;
        let rest = deserializer
            .finalize()
            .map_err(|error| cannot::<T>("decode", FORMAT, &error))?;
        if bounds.shape().digest().to_be_bytes() != *digest {
            return Err(cannot::<T>("decode", FORMAT, &"the type has changed since"));
        }
        alone(decoded, rest, FORMAT)
    }

    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        // An object is stored as it is, so its length needs no exact encoding.
        let len = postcard::serialize_with_flavor(value, Size::default());
        Ok(len.map_err(|error| cannot::<T>("encode", FORMAT, &error))? + DIGEST_LEN)
    }

    fn weight(&self, value: &T) -> Result<usize, Error> {
        Ok(weight(value, self.encoded_len(value)?))
    }
}
