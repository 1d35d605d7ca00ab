//! The CBOR coder.

use bytes::Bytes;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::coder::contract::Coder;
use crate::coder::count::Count;
use crate::coder::exact::{Exact, Rules};
use crate::coder::failure::{alone, cannot};
use crate::coder::memory::weight;
use crate::error::Error;

/// The name of the format in errors.
const FORMAT: &str = "CBOR";

/// CBOR (RFC 8949), by ciborium. Smaller than JSON, and takes any numbers and maps with any keys.
///
/// What is decoded equals what was encoded. `Some(None)` and `Some(())`, which would come back as `None`, are an error when
/// they are encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cbor;

impl<T: Serialize + DeserializeOwned> Coder<T> for Cbor {
    fn name(&self) -> &'static str {
        "cbor"
    }

    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        let mut bytes = Vec::new();
        ciborium::into_writer(&Exact::new(value, Rules::ANY_NUMBER), &mut bytes)
            .map_err(|error| cannot::<T>("encode", FORMAT, &error))?;
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        let mut rest: &[u8] = bytes;
        let value = ciborium::from_reader(&mut rest).map_err(|error| cannot::<T>("decode", FORMAT, &error))?;
        alone(value, rest, FORMAT)
    }

    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        // An object is stored as it is, so its length needs no exact encoding.
        let mut count = Count::default();
        ciborium::into_writer(value, &mut count).map_err(|error| cannot::<T>("encode", FORMAT, &error))?;
        Ok(count.0)
    }

    fn weight(&self, value: &T) -> Result<usize, Error> {
        Ok(weight(value, self.encoded_len(value)?))
    }
}
