//! A coder that states the version of the values' type.

use std::sync::Arc;

use bytes::Bytes;

use crate::coder::contract::Coder;
use crate::error::Error;

/// Encodes as the coder in it does, and states the [version](Coder::type_version) of the values' type.
///
/// Raise the version when values of the old type must not be used any more: entries of another version are misses. The keys
/// stay the same, so an invalidation by key reaches the entries of all versions, also while old and new processes run on one
/// store. 0 is no version.
///
/// ```
/// use cache_core::{Coder, Raw, Versioned};
///
/// let coder = Versioned::new(Raw, 2);
/// assert_eq!(Coder::<String>::type_version(&coder), 2);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versioned<C> {
    coder: C,
    version: u32,
}

impl<C> Versioned<C> {
    /// Creates a coder that encodes as `coder` does.
    #[must_use]
    pub const fn new(coder: C, version: u32) -> Self {
        Self { coder, version }
    }
}

impl<T, C: Coder<T>> Coder<T> for Versioned<C> {
    fn name(&self) -> &'static str {
        self.coder.name()
    }

    fn type_version(&self) -> u32 {
        self.version
    }

    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        self.coder.encode(value)
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        self.coder.decode(bytes)
    }

    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        self.coder.encoded_len(value)
    }

    fn weight(&self, value: &T) -> Result<usize, Error> {
        self.coder.weight(value)
    }

    fn is_same(&self, left: &T, right: &T) -> Result<bool, Error> {
        self.coder.is_same(left, right)
    }
}

impl<T, C: Coder<T> + ?Sized> Coder<T> for Arc<C> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn type_version(&self) -> u32 {
        (**self).type_version()
    }

    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        (**self).encode(value)
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        (**self).decode(bytes)
    }

    fn encoded_len(&self, value: &T) -> Result<usize, Error> {
        (**self).encoded_len(value)
    }

    fn weight(&self, value: &T) -> Result<usize, Error> {
        (**self).weight(value)
    }

    fn is_same(&self, left: &T, right: &T) -> Result<bool, Error> {
        (**self).is_same(left, right)
    }
}
