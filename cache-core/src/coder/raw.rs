//! The coder for values that are bytes already.

use bytes::Bytes;

use crate::allocation::allocated;
use crate::coder::contract::Coder;
use crate::error::{Error, ErrorKind};

/// Stores bytes and text unchanged: [`Bytes`], `Vec<u8>`, [`String`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Raw;

impl Coder<Bytes> for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn encode(&self, value: &Bytes) -> Result<Bytes, Error> {
        Ok(value.clone())
    }

    fn decode(&self, bytes: &Bytes) -> Result<Bytes, Error> {
        Ok(bytes.clone())
    }

    fn weight(&self, value: &Bytes) -> Result<usize, Error> {
        // Sharing a buffer takes a count of its own.
        Ok(size_of::<Bytes>() + allocated(value.len()) + allocated(size_of::<Vec<u8>>()))
    }
}

impl Coder<Vec<u8>> for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn encode(&self, value: &Vec<u8>) -> Result<Bytes, Error> {
        Ok(Bytes::copy_from_slice(value))
    }

    fn decode(&self, bytes: &Bytes) -> Result<Vec<u8>, Error> {
        Ok(bytes.to_vec())
    }

    fn encoded_len(&self, value: &Vec<u8>) -> Result<usize, Error> {
        Ok(value.len())
    }

    fn weight(&self, value: &Vec<u8>) -> Result<usize, Error> {
        Ok(size_of::<Vec<u8>>() + allocated(value.capacity()))
    }
}

impl Coder<String> for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn encode(&self, value: &String) -> Result<Bytes, Error> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }

    fn decode(&self, bytes: &Bytes) -> Result<String, Error> {
        String::from_utf8(bytes.to_vec())
            .map_err(|error| Error::new(ErrorKind::Codec, "the bytes are not UTF-8").with_source(error))
    }

    fn encoded_len(&self, value: &String) -> Result<usize, Error> {
        Ok(value.len())
    }

    fn weight(&self, value: &String) -> Result<usize, Error> {
        Ok(size_of::<String>() + allocated(value.capacity()))
    }
}
