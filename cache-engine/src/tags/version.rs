//! The content of a tag's record: its version.

use std::hash::{BuildHasher, RandomState};

use cache_core::{EntryKind, Envelope, Error, ErrorKind, Key, Record, Tags, Timestamp, Value, Version};

/// The content of a tag's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TagVersion {
    /// The hard and the soft version, in one value.
    pub(super) version: Version,
    /// When the record was written, by the clock of its writer.
    pub(super) since: Timestamp,
}

impl TagVersion {
    fn new(hard: u64, soft: u64, since: Timestamp) -> Self {
        let version = Version::from_u128((u128::from(hard) << 64) | u128::from(soft));
        Self { version, since }
    }

    /// Returns the version that an entry carries under `name`.
    pub(super) fn carried(tags: &Tags, name: &str) -> Option<Self> {
        let (_, version) = tags.iter().find(|(tag, _)| *tag == name)?;
        Some(Self {
            version,
            since: Timestamp::from_millis(0),
        })
    }

    pub(super) fn begun(now: Timestamp) -> Self {
        Self::new(random(), random(), now)
    }

    /// Returns the version after a soft invalidation.
    pub(super) fn softened(self, now: Timestamp) -> Self {
        Self::new(hard(self.version), random(), now)
    }
}

pub(super) fn hard(version: Version) -> u64 {
    (version.as_u128() >> 64) as u64
}

/// Returns 64 random bits. `RandomState` takes its keys from the operating system.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Decodes the record of a tag.
///
/// # Errors
/// It is not the record of a tag, or cannot be read.
pub(super) fn decode(record: &Record, key: &Key) -> Result<TagVersion, Error> {
    match &record.value {
        Value::Shared(shared) => {
            let version = shared.object().downcast_ref().copied();
            version.ok_or_else(|| unreadable(&record.value))
        }
        Value::Bytes(bytes) => {
            let (kind, created, payload) = Envelope::payload_in(bytes, key)?;
            match <[u8; 16]>::try_from(payload) {
                Ok(payload) if kind == EntryKind::Tag => Ok(TagVersion {
                    version: Version::from_u128(u128::from_be_bytes(payload)),
                    since: created,
                }),
                _ => Err(unreadable(&record.value)),
            }
        }
    }
}

/// Returns the error of a record that is not one of a tag: that of the backend, if it could not read the value.
#[cold]
pub(super) fn unreadable(value: &Value) -> Error {
    value
        .unreadable_reason()
        .map_or_else(|| Error::new(ErrorKind::Codec, "not the record of a tag"), Clone::clone)
}
