//! The CBOR coder.

use std::fmt::Display;

use bytes::Bytes;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::coder::contract::Coder;
use crate::coder::count::Count;
use crate::coder::exact::{Exact, Rules};
use crate::coder::memory::memory_of;
use crate::error::{Error, ErrorKind};

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
            .map_err(|error| cannot::<T>("encode", &error))?;
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        let mut rest: &[u8] = bytes;
        let value = ciborium::from_reader(&mut rest).map_err(|error| cannot::<T>("decode", &error))?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(cannot::<T>("decode", &"more bytes than one value"))
        }
    }

    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        // An object is stored as it is, so its length needs no exact encoding.
        let mut count = Count::default();
        ciborium::into_writer(value, &mut count).map_err(|error| cannot::<T>("encode", &error))?;
        Ok(count.0)
    }

    fn weight(&self, value: &T) -> Result<usize, Error> {
        let len = self.encoded_len(value)?;
        Ok(memory_of(value).unwrap_or_else(|| len.saturating_add(size_of::<T>())))
    }
}

fn cannot<T>(operation: &'static str, error: &dyn Display) -> Error {
    Error::new(
        ErrorKind::Codec,
        format!("{} as CBOR: {error}", std::any::type_name::<T>()),
    )
    .with_operation(operation)
}
