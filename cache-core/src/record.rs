//! Records: values with their versions and lifetimes.

use std::any::Any;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

/// A value as a backend stores and returns it.
///
/// This enum is closed on purpose: a backend must handle both.
#[derive(Clone)]
pub enum Value {
    /// Encoded bytes. Every backend stores them.
    Bytes(Bytes),
    /// An object of this process. Only backends that declare
    /// [`Capabilities::shared_objects`](crate::Capabilities::shared_objects) receive one.
    Shared(SharedValue),
}

impl Value {
    /// Returns the bytes, if the value is encoded.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Shared(_) => None,
        }
    }

    /// Returns the weight of the value in bytes, for stores that are bounded by bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Shared(shared) => shared.weight,
        }
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Shared(shared) => write!(f, "Shared(weight {})", shared.weight),
        }
    }
}

/// An object that a backend in this process stores without encoding it. A hit returns the same object.
#[derive(Clone)]
pub struct SharedValue {
    object: Arc<dyn Any + Send + Sync>,
    weight: usize,
}

impl SharedValue {
    /// Wraps `object`, with a weight of `weight` bytes.
    #[must_use]
    pub fn new(object: Arc<dyn Any + Send + Sync>, weight: usize) -> Self {
        Self { object, weight }
    }

    /// Returns the object.
    #[must_use]
    pub fn object(&self) -> &Arc<dyn Any + Send + Sync> {
        &self.object
    }

    /// Returns the object without changing its reference count.
    #[must_use]
    pub fn into_object(self) -> Arc<dyn Any + Send + Sync> {
        self.object
    }

    /// Returns the weight of the object in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }
}

impl fmt::Debug for SharedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedValue(weight {})", self.weight)
    }
}

/// An opaque token that changes on every write of a record and is never used twice for one key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u128);

impl Version {
    /// Makes a version from a store's own token.
    #[must_use]
    pub const fn from_u128(token: u128) -> Self {
        Self(token)
    }

    /// Returns the token, for a store that keeps it.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({:032x})", self.0)
    }
}

/// Makes versions for stores without versions of their own, from 64 random bits per source and a counter.
///
/// ```
/// use cache_core::VersionSource;
///
/// let source = VersionSource::new();
/// assert_ne!(source.next(), source.next());
/// assert_ne!(source.next(), VersionSource::new().next());
/// ```
#[derive(Debug)]
pub struct VersionSource {
    source: u64,
    count: AtomicU64,
}

impl VersionSource {
    /// Makes a source with random bits of its own.
    #[must_use]
    pub fn new() -> Self {
        // `RandomState` is seeded by the operating system.
        Self {
            source: RandomState::new().hash_one(()),
            count: AtomicU64::new(0),
        }
    }

    /// Returns a version that no source has returned before.
    #[must_use]
    pub fn next(&self) -> Version {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Version((u128::from(self.source) << 64) | u128::from(count))
    }
}

impl Default for VersionSource {
    fn default() -> Self {
        Self::new()
    }
}

/// A record as [`Backend::get`](crate::Backend::get) returns it.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Record {
    /// The value as it was written.
    pub value: Value,
    /// The version of this write.
    pub version: Version,
    /// How long the store will still keep the record; `None` if it does not expire.
    pub remaining: Option<Duration>,
}

impl Record {
    /// Makes a record.
    #[must_use]
    pub fn new(value: Value, version: Version, remaining: Option<Duration>) -> Self {
        Self {
            value,
            version,
            remaining,
        }
    }
}
