//! What the record of a tag says.

use std::hash::{BuildHasher, RandomState};

use cache_core::{EntryKind, Envelope, Key, Record, Tags, Timestamp, Value, Version};

/// What the record of a tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TagVersion {
    /// The hard and the soft version, in one.
    pub(super) version: Version,
    /// When it was written, by the clock of its writer.
    pub(super) since: Timestamp,
}

impl TagVersion {
    fn new(hard: u64, soft: u64, since: Timestamp) -> Self {
        let version = Version::from_u128((u128::from(hard) << 64) | u128::from(soft));
        Self { version, since }
    }

    /// The state that an entry carries as `name`.
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

    /// As after a soft invalidation.
    pub(super) fn softened(self, now: Timestamp) -> Self {
        Self::new(hard(self.version), random(), now)
    }
}

pub(super) fn hard(version: Version) -> u64 {
    (version.as_u128() >> 64) as u64
}

/// 64 random bits. `RandomState` takes its keys from the operating system.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}

pub(super) fn decode(record: &Record, key: &Key) -> Option<TagVersion> {
    match &record.value {
        Value::Shared(shared) => shared.object().downcast_ref().copied(),
        Value::Bytes(bytes) => {
            let envelope = Envelope::decode(bytes, key).ok()?;
            let payload: [u8; 16] = envelope.payload[..].try_into().ok()?;
            (envelope.kind == EntryKind::Tag).then(|| TagVersion {
                version: Version::from_u128(u128::from_be_bytes(payload)),
                since: envelope.created,
            })
        }
    }
}
