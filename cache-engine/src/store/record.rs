//! Entries: what the engine stores under a key, as an object or as an envelope.

use std::any::Any;
use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{
    Coder, EntryKind, Envelope, Error, ErrorKind, FreshnessWindows, Key, Record, SharedValue, Tags, Timestamp, Ttl,
    Value, Version, allocated,
};

use crate::panics::coding;
use crate::stats::snapshot::CacheTier;

/// A value that was found, with its age.
#[derive(Debug)]
#[non_exhaustive]
pub struct Found<T> {
    /// The value.
    pub value: Arc<T>,
    /// When it was stored.
    pub created: Timestamp,
    /// How long it is fresh from then on, and how long it may be used after that.
    pub windows: FreshnessWindows,
    /// The tags that the value depends on.
    pub(crate) tags: Tags,
    /// The version of the record that the value was read from, or that its load has stored, if there is one.
    pub(crate) version: Option<Version>,
    /// Where it was found. For a value that was just loaded or given: the store, where it goes.
    pub(crate) tier: CacheTier,
    /// How long its load took, if that was noted.
    pub(crate) load_time: Option<Duration>,
    /// The version of its type.
    pub(crate) type_version: u32,
}

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            created: self.created,
            windows: self.windows,
            tags: self.tags.clone(),
            version: self.version,
            tier: self.tier,
            load_time: self.load_time,
            type_version: self.type_version,
        }
    }
}

/// How long an entry may be used, and what it depends on.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) created: Timestamp,
    pub(crate) windows: FreshnessWindows,
    pub(crate) tags: Tags,
}

impl<T> Found<T> {
    /// Returns where the value was found.
    #[must_use]
    pub fn tier(&self) -> CacheTier {
        self.tier
    }

    /// Returns whether the value is or was in the store: whether it was read from there, or its load has stored it. The load of
    /// another caller shares its value in an outage of the store, too.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.version.is_some()
    }

    /// Returns how long the value may be used, and what it depends on.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            created: self.created,
            windows: self.windows,
            tags: self.tags.clone(),
        }
    }

    /// Returns a value that is not stored.
    pub(crate) fn unkept(value: Arc<T>) -> Self {
        Self {
            value,
            created: Timestamp::from_millis(0),
            windows: FreshnessWindows::new(Duration::ZERO),
            tags: Tags::default(),
            version: None,
            tier: CacheTier::Store,
            load_time: None,
            type_version: 0,
        }
    }

    /// Returns how long ago the value was stored. Returns zero if that time lies in the future, by the clock of another
    /// machine.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        now.saturating_since(self.created)
    }

    /// Returns the value as it is after a soft invalidation at `since`: no longer fresh. Both windows are counted from
    /// then on, unless its freshness ended earlier.
    pub(crate) fn softened(mut self, since: Timestamp, now: Timestamp) -> Self {
        end_freshness(&mut self.windows, self.created, since, now);
        self
    }

    pub(crate) fn freshness(&self, now: Timestamp) -> Freshness {
        Freshness::of(self.created, &self.windows, now)
    }

    /// Returns how long the value will still be fresh: zero if it is not fresh, `None` if it is fresh for ever.
    #[must_use]
    pub fn fresh_for(&self, now: Timestamp) -> Option<Duration> {
        self.windows.fresh.map(|fresh| fresh.saturating_sub(self.age(now)))
    }
}

/// Changes the windows of an entry that was created at `created` and softly invalidated at `since`.
pub(crate) fn end_freshness(windows: &mut FreshnessWindows, created: Timestamp, since: Timestamp, now: Timestamp) {
    // Clocks may differ. The value is not fresh now, whatever they say.
    let until = since.min(now).saturating_since(created);
    windows.fresh = Some(windows.fresh.map_or(until, |fresh| fresh.min(until)));
}

/// What a copy may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    /// May be returned at once, while it is refreshed.
    StaleWhileRevalidate,
    /// May be returned if the load fails.
    StaleIfError,
    Gone,
}

impl Freshness {
    pub(crate) fn of(created: Timestamp, windows: &FreshnessWindows, now: Timestamp) -> Self {
        let Some(fresh) = windows.fresh else { return Self::Fresh };
        let age = now.saturating_since(created);
        if age < fresh {
            return Self::Fresh;
        }
        let stale = age - fresh;
        if stale < windows.stale_while_revalidate {
            Self::StaleWhileRevalidate
        } else if stale < windows.stale_if_error {
            Self::StaleIfError
        } else {
            Self::Gone
        }
    }
}

/// The content of an entry.
#[derive(Debug)]
pub(crate) enum Content<T> {
    Value(Arc<T>),
    /// There is no value.
    Absent,
    /// The load failed: its error, if it occurred in this process, and its message.
    Failure(Option<Arc<dyn Any + Send + Sync>>, Arc<str>),
    /// A load is running. The lease may name a version, as in [`Writer::lease`].
    Lease(Option<Version>),
}

/// An entry that was read.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) content: Content<T>,
    pub(crate) created: Timestamp,
    pub(crate) windows: FreshnessWindows,
    pub(crate) tags: Tags,
    pub(crate) load_time: Option<Duration>,
    /// How long the store retains the record in all, at least. `None` is for ever.
    pub(crate) lifetime: Option<Duration>,
}

/// By how much a clock and the lifetimes in a store may differ because both are in whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

/// Returns when an entry was created, by the clock as it is now set.
///
/// `created` was read from the clock when the entry was stored, and the clock may have been set back since. Of the
/// `lifetime` that the record got then, `remaining` is left by the store. A store in this process counts that by a
/// monotonic clock, so the entry is at least as old as that says.
pub(crate) fn created_at(
    created: Timestamp,
    lifetime: Option<Duration>,
    remaining: Option<Duration>,
    now: Timestamp,
) -> Timestamp {
    let (Some(lifetime), Some(remaining)) = (lifetime, remaining) else {
        return created;
    };
    let age = lifetime.saturating_sub(remaining);
    if age <= now.saturating_since(created).saturating_add(ROUNDING) {
        return created;
    }
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(age))
}

/// An entry as an object, for stores in this process.
struct Object {
    key: Key,
    content: ObjectContent,
    created: Timestamp,
    windows: FreshnessWindows,
    tags: Tags,
    load_time: Option<Duration>,
    /// How long the store retains the record after the end of its freshness.
    retained: Duration,
}

enum ObjectContent {
    /// A value, as [`shelved`] makes it.
    Value(Arc<dyn Any + Send + Sync>),
    /// There is no value, of a type of this version.
    Absent(u32),
    /// The load of a value of a type of this version failed.
    Failure(Arc<dyn Any + Send + Sync>, Arc<str>, u32),
    Lease(Option<Version>),
}

/// A value of a type that has a version. A reader that expects another version, or none, does not find the type that it
/// looks for, so values without a version need no comparison.
struct OfVersion<T> {
    version: u32,
    value: Arc<T>,
}

/// Returns a value as it is kept in this process.
pub(crate) fn shelved<T: Send + Sync + 'static>(value: &Arc<T>, type_version: u32) -> Arc<dyn Any + Send + Sync> {
    match type_version {
        0 => Arc::clone(value) as _,
        version => Arc::new(OfVersion {
            version,
            value: Arc::clone(value),
        }),
    }
}

/// Returns the value that was [shelved](shelved), if it is of this type and version.
#[inline]
pub(crate) fn unshelved<T>(value: &Arc<dyn Any + Send + Sync>, type_version: u32) -> Option<Arc<T>>
where
    T: Send + Sync + 'static,
{
    if type_version == 0 {
        return value.is::<T>().then(|| Arc::clone(value).downcast().ok()).flatten();
    }
    let of_version = value.downcast_ref::<OfVersion<T>>()?;
    (of_version.version == type_version).then(|| Arc::clone(&of_version.value))
}

/// What an `Arc` counts beside its content: its two counts, and what the allocator adds.
pub(crate) const ARC: usize = 4 * size_of::<usize>();

/// The memory of an entry beside its value.
const OVERHEAD: usize = size_of::<Object>() + ARC;

/// Encodes entries in the form that a store takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    /// Whether the store is in this process, so that objects are stored as they are.
    pub(crate) local: bool,
    pub(crate) now: Timestamp,
    /// The tags that the entry depends on.
    pub(crate) tags: &'a Tags,
    /// How long the load of the value took, if that is to be noted.
    pub(crate) load_time: Option<Duration>,
    /// How long the store retains the record after all of its windows have ended.
    pub(crate) grace: Duration,
}

/// Returns how long the store retains a record with these windows and `grace`.
pub(crate) fn retention(windows: &FreshnessWindows, grace: Duration) -> Ttl {
    match windows.total().as_duration() {
        Some(total) if !grace.is_zero() => Ttl::from(total.saturating_add(grace)),
        _ => windows.total(),
    }
}

impl Writer<'_> {
    pub(crate) fn value<T, C>(
        self,
        key: &Key,
        value: &Arc<T>,
        coder: &C,
        windows: FreshnessWindows,
    ) -> Result<Value, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if self.local {
            let weight = coding(|| coder.weight(value))? + ARC;
            let content = ObjectContent::Value(shelved(value, coder.type_version()));
            Ok(self.object(key, content, weight, windows))
        } else {
            let envelope = self.envelope(EntryKind::Value, windows);
            let payload = coding(|| coder.encode(value))?;
            encode(
                envelope
                    .with_type_version(coder.type_version())
                    .with_load_time(self.load_time)
                    .with_payload(coder.name(), payload),
                key,
            )
        }
    }

    /// Encodes that there is no value of a type of this version.
    pub(crate) fn absent(self, key: &Key, type_version: u32, windows: FreshnessWindows) -> Result<Value, Error> {
        if self.local {
            Ok(self.object(key, ObjectContent::Absent(type_version), 0, windows))
        } else {
            let envelope = self.envelope(EntryKind::Absent, windows);
            encode(envelope.with_type_version(type_version), key)
        }
    }

    pub(crate) fn failure(
        self,
        key: &Key,
        error: &Arc<dyn Any + Send + Sync>,
        message: &str,
        type_version: u32,
        windows: FreshnessWindows,
    ) -> Result<Value, Error> {
        if self.local {
            let content = ObjectContent::Failure(Arc::clone(error), message.into(), type_version);
            Ok(self.object(key, content, message.len(), windows))
        } else {
            let message = bytes::Bytes::copy_from_slice(message.as_bytes());
            let envelope = self.envelope(EntryKind::Failure, windows);
            encode(envelope.with_type_version(type_version).with_payload("", message), key)
        }
    }

    /// Encodes a lease. The renewal of a lease names the version that the lease was first written as. A lease beside a
    /// record names the version of that record.
    pub(crate) fn lease(self, key: &Key, time: Duration, names: Option<Version>) -> Result<Value, Error> {
        let windows = FreshnessWindows::new(time);
        if self.local {
            Ok(self.object(key, ObjectContent::Lease(names), 0, windows))
        } else {
            let named = names.map(|version| version.as_u128().to_be_bytes());
            let payload = named.map_or_else(bytes::Bytes::new, |named| bytes::Bytes::copy_from_slice(&named));
            encode(self.envelope(EntryKind::Lease, windows).with_payload("", payload), key)
        }
    }

    fn object(self, key: &Key, content: ObjectContent, weight: usize, windows: FreshnessWindows) -> Value {
        let weight = weight + OVERHEAD + key_memory(key) + tags_memory(self.tags);
        let object = Object {
            key: key.clone(),
            content,
            created: self.now,
            windows,
            tags: self.tags.clone(),
            load_time: self.load_time,
            retained: stale_time(&windows).saturating_add(self.grace),
        };
        Value::Shared(SharedValue::new(Arc::new(object), weight))
    }

    fn envelope(self, kind: EntryKind, windows: FreshnessWindows) -> Envelope {
        Envelope::new(kind, self.now, windows).with_tags(self.tags.clone())
    }
}

impl Object {
    /// Returns how long the store retains the record in all. `None` is for ever.
    fn lifetime(&self) -> Option<Duration> {
        self.windows.fresh.map(|fresh| fresh.saturating_add(self.retained))
    }
}

/// Returns how long an entry may be used after the end of its freshness.
fn stale_time(windows: &FreshnessWindows) -> Duration {
    windows.stale_while_revalidate.max(windows.stale_if_error)
}

fn encode(envelope: Envelope, key: &Key) -> Result<Value, Error> {
    envelope.encode(key).map(Value::Bytes)
}

/// Returns the memory that a stored key takes: its text, and its identity where that is not the text.
pub(crate) fn key_memory(key: &Key) -> usize {
    let (text, identity) = (key.as_str().as_bytes(), key.identity());
    if std::ptr::eq(text, identity) {
        allocated(text.len())
    } else {
        allocated(text.len()) + allocated(identity.len())
    }
}

/// Returns the memory that stored tags take: their names with their versions.
pub(crate) fn tags_memory(tags: &Tags) -> usize {
    allocated(tags.iter().map(|(name, _)| name.len() + size_of::<Version>()).sum())
}

/// A record that is opened as far as judging its tags requires. Its value is not decoded.
#[derive(Debug)]
pub(crate) enum Opened {
    Object(SharedValue),
    Envelope(Box<Envelope>),
}

/// Opens a record that the store returned. An error means that the record is unusable: damaged, of a newer version, or
/// of another key.
#[inline]
pub(crate) fn open(record: Record, key: &Key) -> Result<Opened, Error> {
    match record.value {
        Value::Shared(shared) => {
            let Some(object) = shared.object().downcast_ref::<Object>() else {
                return Err(not_an_entry(&Value::Shared(shared)));
            };
            if object.key.identity() != key.identity() {
                return Err(unusable("the entry belongs to another key with the same name"));
            }
            Ok(Opened::Object(shared))
        }
        Value::Bytes(bytes) => match Envelope::decode(&bytes, key) {
            Ok(envelope) => Ok(Opened::Envelope(Box::new(envelope))),
            Err(error) => Err(unusable(error.to_string()).with_source(error)),
        },
    }
}

/// Returns the error of a record with an object that is not an entry: that of the backend, if it could not read the value.
#[cold]
fn not_an_entry(value: &Value) -> Error {
    value
        .unreadable_reason()
        .map_or_else(|| unusable("not an entry of this cache"), Clone::clone)
}

impl Opened {
    /// Returns the tags that the entry depends on.
    #[inline]
    pub(crate) fn tags(&self) -> &Tags {
        static NONE: std::sync::LazyLock<Tags> = std::sync::LazyLock::new(Tags::default);
        match self {
            Self::Object(shared) => shared
                .object()
                .downcast_ref::<Object>()
                .map_or_else(|| &*NONE, |object| &object.tags),
            Self::Envelope(envelope) => &envelope.tags,
        }
    }

    /// Returns whether the entry is a lease.
    pub(crate) fn is_lease(&self) -> bool {
        match self {
            Self::Object(shared) => shared
                .object()
                .downcast_ref::<Object>()
                .is_some_and(|object| matches!(object.content, ObjectContent::Lease(_))),
            Self::Envelope(envelope) => envelope.kind == EntryKind::Lease,
        }
    }

    /// Decodes the value and returns the entry. An error means that the entry is unusable: of another coder or type.
    #[inline]
    pub(crate) fn read<T, C>(self, coder: &C) -> Result<Entry<T>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        match self {
            Self::Object(shared) => read_object(&shared, coder.type_version()),
            Self::Envelope(envelope) => read_envelope(*envelope, coder),
        }
    }
}

/// Returns the value of an object that is fresh; a hit in memory does no more than this. Makes no copy. `outlives` says
/// whether the store keeps the record for longer than that, or `None` if the record does not expire. With `now`, the age of
/// the object decides too. Without, the store measures lifetimes by the same clock, so `outlives` is enough. For any other
/// record, use [`open`].
#[inline]
pub(crate) fn fresh_object<T>(
    object: &Arc<dyn Any + Send + Sync>,
    outlives: impl FnOnce(Duration) -> Option<bool>,
    key: &Key,
    type_version: u32,
    now: Option<Timestamp>,
) -> Option<Arc<T>>
where
    T: Send + Sync + 'static,
{
    let object = object.downcast_ref::<Object>()?;
    let ObjectContent::Value(value) = &object.content else {
        return None;
    };
    if !object.tags.is_empty() {
        // The caller has to check whether the tags have changed.
        return None;
    }
    let fresh = object
        .windows
        .fresh
        .is_none_or(|fresh| match (now, outlives(object.retained)) {
            (None, outlives) => outlives == Some(true),
            (Some(now), outlives) => outlives != Some(false) && now.saturating_since(object.created) < fresh,
        });
    if fresh && object.key.identity() == key.identity() {
        unshelved(value, type_version)
    } else {
        None
    }
}

/// What a record holds, without its value.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) content: Kind,
    pub(crate) created: Timestamp,
    pub(crate) windows: FreshnessWindows,
    pub(crate) tags: Tags,
    /// How long the store retains the record in all, at least. `None` is for ever, or unknown.
    pub(crate) lifetime: Option<Duration>,
}

/// The kind of an entry.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A value, encoded by the coder of this name. Objects have none.
    Value(Option<String>),
    Absent,
    Failure(String),
    Lease,
}

/// Returns what a record holds. An error means that it is unusable, as for [`open`].
pub(crate) fn summary(record: &Record, key: &Key) -> Result<Summary, Error> {
    let opened = open(record.clone(), key)?;
    let (content, created, windows, lifetime) = match &opened {
        Opened::Object(shared) => {
            let object = shared.object().downcast_ref::<Object>();
            let object = object.ok_or_else(|| unusable("not an entry of this cache"))?;
            let content = match &object.content {
                ObjectContent::Value(_) => Kind::Value(None),
                ObjectContent::Absent(_) => Kind::Absent,
                ObjectContent::Failure(_, message, _) => Kind::Failure(message.to_string()),
                ObjectContent::Lease(_) => Kind::Lease,
            };
            (content, object.created, object.windows, object.lifetime())
        }
        Opened::Envelope(envelope) => {
            let content = match envelope.kind {
                EntryKind::Absent => Kind::Absent,
                EntryKind::Failure => Kind::Failure(String::from_utf8_lossy(&envelope.payload).into_owned()),
                EntryKind::Lease => Kind::Lease,
                _ => Kind::Value(Some(envelope.coder.to_string())),
            };
            let lifetime = envelope.windows.total().as_duration();
            (content, envelope.created, envelope.windows, lifetime)
        }
    };
    let tags = opened.tags().clone();
    Ok(Summary {
        content,
        created,
        windows,
        tags,
        lifetime,
    })
}

/// Returns the tags that an entry depends on, or `None` if the record is unusable.
pub(crate) fn tags(record: &Record, key: &Key) -> Option<Tags> {
    match &record.value {
        Value::Shared(shared) => Some(shared.object().downcast_ref::<Object>()?.tags.clone()),
        Value::Bytes(bytes) => Some(Envelope::decode(bytes, key).ok()?.tags),
    }
}

/// Returns the entry of a value as it is after a soft invalidation of its key: not fresh by any clock, with both
/// windows counted from now on instead of from the end of its freshness. If its freshness has ended already, its
/// windows have begun, and end when they would have ended. Returns `None` if the entry is unusable by then.
pub(crate) fn softened(record: &Record, key: &Key, now: Timestamp) -> Option<(Value, Ttl)> {
    let soften = |windows: &mut FreshnessWindows, created: Timestamp| {
        let age = now.saturating_since(created);
        let fresh_until = windows.fresh.map_or(age, |fresh| fresh.min(age));
        // Both windows are counted from the end of freshness, which is now the time of creation.
        windows.fresh = Some(Duration::ZERO);
        for window in [&mut windows.stale_while_revalidate, &mut windows.stale_if_error] {
            if !window.is_zero() {
                *window = window.saturating_add(fresh_until);
            }
        }
        let windows_end = windows.stale_while_revalidate.max(windows.stale_if_error);
        let windows_left = windows_end.saturating_sub(age);
        let left = record
            .remaining
            .map_or(windows_left, |remaining| remaining.min(windows_left));
        (!windows_left.is_zero()).then(|| Ttl::from(left))
    };
    match &record.value {
        Value::Shared(shared) => {
            let object = shared.object().downcast_ref::<Object>()?;
            let ObjectContent::Value(value) = &object.content else {
                return None;
            };
            let mut windows = object.windows;
            let left = soften(&mut windows, object.created)?;
            let object = Object {
                key: object.key.clone(),
                content: ObjectContent::Value(Arc::clone(value)),
                created: object.created,
                windows,
                tags: object.tags.clone(),
                load_time: object.load_time,
                retained: stale_time(&windows),
            };
            Some((Value::Shared(SharedValue::new(Arc::new(object), shared.weight())), left))
        }
        Value::Bytes(bytes) => {
            let mut envelope = Envelope::decode(bytes, key).ok()?;
            let left = soften(&mut envelope.windows, envelope.created).filter(|_| envelope.kind == EntryKind::Value)?;
            Some((Value::Bytes(envelope.encode(key).ok()?), left))
        }
    }
}

#[inline]
fn read_object<T: Send + Sync + 'static>(shared: &SharedValue, type_version: u32) -> Result<Entry<T>, Error> {
    let object = shared
        .object()
        .downcast_ref::<Object>()
        .ok_or_else(|| unusable("not an entry of this cache"))?;
    let content = match &object.content {
        ObjectContent::Value(value) => match unshelved(value, type_version) {
            Some(value) => Content::Value(value),
            None if type_version == 0 => {
                return Err(unusable(format!("the entry is not a {}", std::any::type_name::<T>())));
            }
            None => {
                let name = std::any::type_name::<T>();
                return Err(unusable(format!("the entry is not a {name} of version {type_version}")));
            }
        },
        ObjectContent::Absent(version) | ObjectContent::Failure(.., version) if *version != type_version => {
            return Err(of_other_version(*version, type_version));
        }
        ObjectContent::Absent(_) => Content::Absent,
        ObjectContent::Failure(error, message, _) => Content::Failure(Some(Arc::clone(error)), Arc::clone(message)),
        ObjectContent::Lease(names) => Content::Lease(*names),
    };
    Ok(Entry {
        content,
        created: object.created,
        windows: object.windows,
        tags: object.tags.clone(),
        load_time: object.load_time,
        lifetime: object.lifetime(),
    })
}

fn of_other_version(found: u32, expected: u32) -> Error {
    unusable(format!("the entry is of version {found} of its type, not {expected}"))
}

fn read_envelope<T, C: Coder<T>>(envelope: Envelope, coder: &C) -> Result<Entry<T>, Error> {
    let version = envelope.type_version;
    let content = match envelope.kind {
        EntryKind::Value | EntryKind::Absent | EntryKind::Failure if version != coder.type_version() => {
            return Err(of_other_version(version, coder.type_version()));
        }
        EntryKind::Value if envelope.coder == coder.name() => {
            Content::Value(Arc::new(coding(|| coder.decode(&envelope.payload))?))
        }
        EntryKind::Value => {
            return Err(unusable(format!(
                "the entry is coded as {:?}, not {:?}",
                envelope.coder,
                coder.name()
            )));
        }
        EntryKind::Absent => Content::Absent,
        EntryKind::Failure => Content::Failure(None, String::from_utf8_lossy(&envelope.payload).into()),
        EntryKind::Lease => Content::Lease(named(&envelope)),
        _ => return Err(unusable("the entry is of a kind that is not read here")),
    };
    Ok(Entry {
        content,
        created: envelope.created,
        windows: envelope.windows,
        tags: envelope.tags,
        load_time: envelope.load_time,
        lifetime: envelope.windows.total().as_duration(),
    })
}

/// Returns the version that the lease in a record names, or the record's own. Returns `None` if the record is not a
/// lease.
pub(crate) fn lease(record: &Record, key: &Key) -> Option<Version> {
    let named = match &record.value {
        Value::Shared(shared) => match shared.object().downcast_ref::<Object>()?.content {
            ObjectContent::Lease(names) => names,
            _ => return None,
        },
        Value::Bytes(bytes) => {
            let envelope = Envelope::decode(bytes, key).ok()?;
            if envelope.kind != EntryKind::Lease {
                return None;
            }
            named(&envelope)
        }
    };
    Some(named.unwrap_or(record.version))
}

/// Returns the version that the lease in an envelope names.
fn named(lease: &Envelope) -> Option<Version> {
    let version: [u8; 16] = lease.payload[..].try_into().ok()?;
    Some(Version::from_u128(u128::from_be_bytes(version)))
}

fn unusable(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Codec, message).with_operation("read")
}
