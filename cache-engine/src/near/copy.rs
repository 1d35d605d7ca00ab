//! A copy in the near tier.

use std::any::Any;
use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{FreshnessWindows, Key, Record, SharedValue, Tags, Timestamp, Value, Version};

use crate::stats::snapshot::CacheTier;
use crate::store::record::{ARC, Found, Freshness, Kind, Summary, key_memory, shelved, tags_memory, unshelved};

/// A copy of a value that is elsewhere.
struct Copied {
    key: Key,
    value: Arc<dyn Any + Send + Sync>,
    created: Timestamp,
    windows: FreshnessWindows,
    tags: Tags,
    /// The version of the record that it was copied from.
    version: Version,
    generation: Generation,
    /// How long the load of the value took, if that was noted.
    load_time: Option<Duration>,
}

/// The number of times that all copies were ended at once. Copies of an earlier generation are not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(pub(super) u64);

/// The bytes that a copy costs in addition to its value.
const OVERHEAD: usize = size_of::<Copied>() + ARC;

/// Returns a copy of what was found in the record of `version`. Its value counts as `weight` bytes.
pub(crate) fn copy<T: Send + Sync + 'static>(
    key: &Key,
    found: &Found<T>,
    version: Version,
    generation: Generation,
    weight: usize,
) -> Value {
    let weight = weight + OVERHEAD + key_memory(key) + tags_memory(&found.tags);
    let copied = Copied {
        key: key.clone(),
        value: shelved(&found.value, found.type_version),
        created: found.created,
        windows: found.windows,
        tags: found.tags.clone(),
        version,
        generation,
        load_time: found.load_time,
    };
    Value::Shared(SharedValue::new(Arc::new(copied), weight))
}

/// Returns the version of the record that a copy was made from.
pub(super) fn version(record: &Record) -> Option<Version> {
    let Value::Shared(shared) = &record.value else {
        return None;
    };
    Some(shared.object().downcast_ref::<Copied>()?.version)
}

/// Returns what a copy holds, or `None` if it is no copy of `key`.
pub(crate) fn summary(record: &Record, key: &Key) -> Option<Summary> {
    let Value::Shared(shared) = &record.value else {
        return None;
    };
    let copied = shared.object().downcast_ref::<Copied>()?;
    (copied.key.identity() == key.identity()).then(|| Summary {
        content: Kind::Value(None),
        created: copied.created,
        windows: copied.windows,
        tags: copied.tags.clone(),
        lifetime: None,
    })
}

/// Returns the fresh value of a copy, and the version of the record that it was copied from.
#[inline]
pub(crate) fn read<T: Send + Sync + 'static>(
    record: &Record,
    key: &Key,
    type_version: u32,
    generation: Generation,
    now: impl FnOnce() -> Timestamp,
) -> Option<(Found<T>, Version)> {
    let Value::Shared(shared) = &record.value else {
        return None;
    };
    let copied = shared.object().downcast_ref::<Copied>()?;
    if copied.generation != generation
        || copied.key.identity() != key.identity()
        || copied.windows.fresh.is_some() && Freshness::of(copied.created, &copied.windows, now()) != Freshness::Fresh
    {
        return None;
    }
    let found = Found {
        value: unshelved(&copied.value, type_version)?,
        created: copied.created,
        windows: copied.windows,
        tags: copied.tags.clone(),
        version: Some(copied.version),
        tier: CacheTier::Near,
        load_time: copied.load_time,
        type_version,
    };
    Some((found, copied.version))
}
