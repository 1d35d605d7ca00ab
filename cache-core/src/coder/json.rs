//! JSON.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::coder::contract::Coder;
use crate::coder::count::Count;
use crate::error::{Error, ErrorKind};

/// JSON, by serde_json. Readable in the store's own tools; numbers that are not finite become `null`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Coder<T> for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        serde_json::to_vec(value)
            .map(Bytes::from)
            .map_err(|error| cannot::<T>("encode", error))
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|error| cannot::<T>("decode", error))
    }

    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        let mut count = Count::default();
        serde_json::to_writer(&mut count, value).map_err(|error| cannot::<T>("encode", error))?;
        Ok(count.0)
    }
}

fn cannot<T>(operation: &'static str, error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Codec,
        format!("{} as JSON: {error}", std::any::type_name::<T>()),
    )
    .with_operation(operation)
    .with_source(error)
}
