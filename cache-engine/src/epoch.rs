//! How namespaces are cleared in a store that cannot enumerate its records.
//!
//! Each namespace has one record beside it, its epoch, and so has everything below the prefix. An entry carries the
//! epochs that were read before its load began; an entry whose epochs are not the current ones is of no use. Clearing
//! writes one record, whatever the number of entries, and holds for loads that are under way. An epoch that the store
//! has lost counts as changed. No clock is involved.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    EntryKind, Envelope, Error, Key, Namespace, Prefix, Record, SetOptions, SetOutcome, Tags, Timestamp, Ttl, Value,
    Version, VersionSource, Windows,
};

use crate::store::Store;

/// The names under which an entry carries its epochs.
const NAMES: [&str; 2] = ["\u{0}namespace", "\u{0}prefix"];

/// The epochs of a store's namespaces.
#[derive(Debug)]
pub(crate) struct Epochs {
    store: Arc<Store>,
    versions: VersionSource,
}

/// The epochs that an entry depends on, as they stand; `None` for one that the store does not have.
pub(crate) type Current = [Option<Version>; NAMES.len()];

impl Epochs {
    /// The epochs of `store`, unless it can enumerate its records and has no need of them.
    pub(crate) fn of(store: &Arc<Store>) -> Option<Self> {
        if store.backend().capabilities().clear {
            return None;
        }
        Some(Self {
            store: Arc::clone(store),
            versions: VersionSource::new(),
        })
    }

    /// The keys of the epochs that the entries of `namespace` depend on.
    pub(crate) fn keys(namespace: &Namespace) -> [Key; NAMES.len()] {
        [Self::of_namespace(namespace), Self::of_prefix(&namespace.prefix())]
    }

    /// The key of a namespace's epoch.
    pub(crate) fn of_namespace(namespace: &Namespace) -> Key {
        namespace.reserved("epoch").key("")
    }

    /// The key of the epoch of everything below a prefix.
    pub(crate) fn of_prefix(prefix: &Prefix) -> Key {
        prefix.namespace("").reserved("epoch-of-all").key("")
    }

    /// What the records of [`keys`](Self::keys) say.
    pub(crate) fn read(keys: &[Key; NAMES.len()], records: impl IntoIterator<Item = Option<Record>>) -> Current {
        let mut current = [None; NAMES.len()];
        for ((slot, key), record) in current.iter_mut().zip(keys).zip(records) {
            *slot = record.and_then(|record| decode(&record, key));
        }
        current
    }

    /// Whether an entry with `tags` is of the current epochs.
    pub(crate) fn are_current(tags: &Tags, current: &Current) -> bool {
        NAMES.iter().zip(current).all(|(name, current)| {
            current.is_some() && *current == tags.iter().find(|(tag, _)| tag == name).map(|(_, version)| version)
        })
    }

    /// The current epochs of `namespace`, to be carried by an entry whose load begins now. What the store does not
    /// have is begun anew.
    pub(crate) async fn capture(&self, namespace: &Namespace, now: Timestamp) -> Result<Tags, Error> {
        let keys = Self::keys(namespace);
        let mut current = Self::read(&keys, self.store.get_many(&keys).await?);
        for (key, slot) in keys.iter().zip(&mut current) {
            while slot.is_none() {
                *slot = match self.write(key, SetOptions::new(Ttl::FOREVER).if_absent(), now).await? {
                    Some(version) => Some(version),
                    // Somebody else began it, or something else stands there.
                    None => match self.store.get(key).await? {
                        Some(record) => match decode(&record, key) {
                            Some(version) => Some(version),
                            None => {
                                let options = SetOptions::new(Ttl::FOREVER).if_version(record.version);
                                self.write(key, options, now).await?
                            }
                        },
                        None => None,
                    },
                };
            }
        }
        Tags::new(NAMES.iter().zip(current.into_iter().flatten()))
    }

    /// Whether `tags`, captured for `namespace`, are still current. Unknown counts as not.
    pub(crate) async fn still_current(&self, namespace: &Namespace, tags: &Tags) -> bool {
        let keys = Self::keys(namespace);
        match self.store.get_many(&keys).await {
            Ok(records) => Self::are_current(tags, &Self::read(&keys, records)),
            Err(_) => false,
        }
    }

    /// Ends the epoch of `key`: every entry that carries it is out of use from now on.
    pub(crate) async fn end(&self, key: &Key, now: Timestamp) -> Result<(), Error> {
        self.write(key, SetOptions::new(Ttl::FOREVER), now).await.map(drop)
    }

    async fn write(&self, key: &Key, options: SetOptions, now: Timestamp) -> Result<Option<Version>, Error> {
        let version = self.versions.next();
        let payload = Bytes::copy_from_slice(&version.as_u128().to_be_bytes());
        let envelope = Envelope::new(EntryKind::Tag, now, Windows::FOREVER).with_payload("", payload);
        let outcome = self
            .store
            .set(key, Value::Bytes(envelope.encode(key)?), options)
            .await?;
        Ok(match outcome {
            SetOutcome::Stored(_) => Some(version),
            SetOutcome::Refused => None,
        })
    }
}

fn decode(record: &Record, key: &Key) -> Option<Version> {
    let envelope = Envelope::decode(record.value.as_bytes()?, key).ok()?;
    let payload: [u8; 16] = envelope.payload[..].try_into().ok()?;
    (envelope.kind == EntryKind::Tag).then(|| Version::from_u128(u128::from_be_bytes(payload)))
}
