//! The JSON coder.

use bytes::Bytes;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::coder::contract::Coder;
use crate::coder::count::Count;
use crate::coder::exact::{Exact, Rules};
use crate::coder::failure;
use crate::coder::memory::weight;
use crate::error::Error;

/// JSON, by serde_json. Readable in the store's own tools.
///
/// What is decoded equals what was encoded: floating-point numbers come back to the last digit. A value for which JSON has
/// no encoding of its own is an error when it is encoded: `NaN` and the infinities, and `Some(None)` or `Some(())`, which
/// would come back as `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Coder<T> for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        serde_json::to_vec(&Exact::new(value, Rules::FINITE_NUMBERS))
            .map(Bytes::from)
            .map_err(|error| cannot::<T>("encode", error))
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|error| cannot::<T>("decode", error))
    }

    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        // An object is stored as it is, so its length needs no exact encoding.
        let mut count = Count::default();
        serde_json::to_writer(&mut count, value).map_err(|error| cannot::<T>("encode", error))?;
        Ok(count.0)
    }

    fn is_same(&self, left: &T, right: &T) -> Result<bool, Error> {
        let (left, right) = (self.encode(left)?, self.encode(right)?);
        if left == right {
            return Ok(true);
        }
        // The members of maps may be in another order.
        let value = |bytes: &Bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
        Ok(value(&left).is_some_and(|left| Some(left) == value(&right)))
    }

    fn weight(&self, value: &T) -> Result<usize, Error> {
        Ok(weight(value, self.encoded_len(value)?))
    }
}

fn cannot<T>(operation: &'static str, error: serde_json::Error) -> Error {
    failure::cannot::<T>(operation, "JSON", &error).with_source(error)
}
