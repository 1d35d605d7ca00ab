//! Records: values with their versions and lifetimes.

use std::any::Any;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;

/// A value as a backend stores and returns it.
///
/// This enum is closed on purpose: a backend must handle both.
#[derive(Clone)]
pub enum Value {
    /// Encoded bytes. Every backend stores them.
    Bytes(Bytes),
    /// An object of this process. Only backends that declare
    /// [`Capabilities::shared_objects`](crate::Capabilities::shared_objects) receive one. Any backend may return an
    /// [unreadable](Self::unreadable) value.
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

    /// Makes the value of a record that is there, but cannot be read because of `error`.
    ///
    /// For backends that wrap another one and transform its values, as encryption does. To the engine, such a record is a
    /// miss: it emits an event with `error`, loads the value, and replaces the record. Never return such a record as
    /// absent: a write that depends on its absence would be refused.
    #[must_use]
    pub fn unreadable(error: Error) -> Self {
        Self::Shared(SharedValue::new(Arc::new(Unreadable(error)), 0))
    }

    /// Returns why the value cannot be read, if it was made by [`unreadable`](Self::unreadable).
    #[must_use]
    pub fn unreadable_reason(&self) -> Option<&Error> {
        match self {
            Self::Bytes(_) => None,
            Self::Shared(shared) => shared.object.downcast_ref().map(|Unreadable(error)| error),
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

/// What stands in the place of a value that cannot be read.
struct Unreadable(Error);

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Shared(shared) => match self.unreadable_reason() {
                Some(error) => write!(f, "Unreadable({error})"),
                None => write!(f, "Shared(weight {})", shared.weight),
            },
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
    ///
    /// Be exact to the millisecond. The engine compares it with the wall clock, to notice a clock that was set back: an
    /// entry is at least as old as its [`ttl`](crate::SetOptions::ttl) minus `remaining`. So a store that rounds
    /// `remaining` down makes its entries older.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn an_unreadable_value_says_why_and_is_no_bytes() {
        let value = Value::unreadable(Error::new(ErrorKind::Codec, "sealed"));
        assert_eq!(value.unreadable_reason().map(Error::message), Some("sealed"));
        assert!(value.as_bytes().is_none() && value.weight() == 0);
        assert_eq!(format!("{value:?}"), "Unreadable(codec: sealed)");

        let object = Value::Shared(SharedValue::new(Arc::new("sealed"), 6));
        assert!(object.unreadable_reason().is_none());
        assert!(Value::from(Bytes::from_static(b"sealed")).unreadable_reason().is_none());
    }
}
