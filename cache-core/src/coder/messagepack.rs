//! The MessagePack coder.

use bytes::Bytes;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::coder::bounded::Bounds;
use crate::coder::contract::Coder;
use crate::coder::count::Count;
use crate::coder::exact::{Exact, Rules};
use crate::coder::failure::{alone, cannot};
use crate::coder::memory::weight;
use crate::error::Error;

/// The name of the format in errors.
const FORMAT: &str = "MessagePack";

/// [MessagePack](https://msgpack.org), by rmp-serde. Smaller than JSON, and takes any numbers and maps with any keys.
/// Programs in other languages read it. Structs are written with the names of their fields, so fields may be added.
///
/// What is decoded equals what was encoded. `Some(None)` and `Some(())`, which would come back as `None`, are an error when
/// they are encoded. Values may be nested 128 deep, as in JSON; a value that is nested deeper is encoded, and not decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessagePack;

impl<T: Serialize + DeserializeOwned> Coder<T> for MessagePack {
    fn name(&self) -> &'static str {
        "messagepack"
    }

    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        let mut bytes = Vec::new();
        let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
        Exact::new(value, Rules::ANY_NUMBER)
            .serialize(&mut serializer)
            .map_err(|error| cannot::<T>("encode", FORMAT, &error))?;
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        let mut rest: &[u8] = bytes;
        let bounds = Bounds::new(bytes.len());
        let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
        let value =
            T::deserialize(bounds.around(&mut deserializer)).map_err(|error| cannot::<T>("decode", FORMAT, &error))?;
        alone(value, rest, FORMAT)
    }

    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        // An object is stored as it is, so its length needs no exact encoding.
        let mut count = Count::default();
        let mut serializer = rmp_serde::Serializer::new(&mut count).with_struct_map();
        value
            .serialize(&mut serializer)
            .map_err(|error| cannot::<T>("encode", FORMAT, &error))?;
        Ok(count.0)
    }

    fn weight(&self, value: &T) -> Result<usize, Error> {
        Ok(weight(value, self.encoded_len(value)?))
    }
}
