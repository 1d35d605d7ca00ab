//! The near tier: copies in this process of values in a store elsewhere.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::{Backend, Key, Record, Scope, SetOptions, Ttl, Usage, Value, Version};
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::near::copy::{self, Generation};
use crate::store::Store;
use crate::store::changes::{ChangeStamp, Changes};

/// The most writes of this process whose changes are still to be reported.
const MOST_OWN: usize = 10_000;

/// The largest number of reads that confirm that a copy is of the last version. One may not be enough: a load's lease
/// and its value are reported one after the other.
const QUESTIONS: usize = 3;

/// Copies in this process of values in a store elsewhere.
///
/// A value that was read from the store or written to it is copied, and the copy is removed when a change of the record
/// is reported. Without a subscription, copies are used only up to their maximum age, and not at all if there is none.
#[derive(Debug)]
pub(crate) struct Near {
    copies: Arc<dyn Backend>,
    far: Arc<Store>,
    max_age: Option<Duration>,
    /// Whether the store has a change subscription.
    subscribes: bool,
    changes: Arc<Changes>,
    /// The keys that this process has written, and whose change is still to be reported.
    own: Mutex<HashSet<Key>>,
    generation: AtomicU64,
}

impl Near {
    pub(crate) fn new(
        copies: Arc<dyn Backend>,
        far: &Arc<Store>,
        max_age: Option<Duration>,
        changes: &Arc<Changes>,
    ) -> Self {
        Self {
            subscribes: far.backend().capabilities().subscribe,
            copies,
            far: Arc::clone(far),
            max_age,
            changes: Arc::clone(changes),
            own: Mutex::default(),
            generation: AtomicU64::new(0),
        }
    }

    /// Returns the copy of a record, if copies may be used now.
    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<Record> {
        if !self.is_subscribed() && self.max_age.is_none() {
            return None;
        }
        self.copy(key)
    }

    /// Returns whether the store reports changes at the moment.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribes && self.changes.are_reported()
    }

    pub(crate) fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Returns the generation of the copies that are made and used now.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// Returns how much the copies take, as far as that is known.
    pub(crate) fn usage(&self) -> Option<Usage> {
        (*self.copies).usage()
    }

    pub(crate) fn stamp(&self, key: &Key) -> ChangeStamp {
        self.changes.stamp(key)
    }

    /// Stores a copy of a value that was read after `stamp`, unless a change was reported since.
    pub(crate) fn keep(&self, key: &Key, copy: Value, fresh: Option<Duration>, stamp: ChangeStamp) {
        self.keep_until(key, copy, self.end(fresh, stamp), stamp);
    }

    /// Stores a copy of what this process wrote as `version`, after `stamp`.
    ///
    /// The store reports the writes of this process as it does all others, and may report two writes as one. When an own
    /// write is reported, the copy is therefore put aside until the store confirms that it is of the last version. The same
    /// is done if this process changed the record in another way before the write was answered.
    pub(crate) fn keep_own(
        self: &Arc<Self>,
        key: &Key,
        copy: Value,
        fresh: Option<Duration>,
        version: Version,
        stamp: ChangeStamp,
    ) {
        {
            let mut own = self.turn();
            let moved = self.changes.stamp(key) != stamp;
            // From now on, no value that was read before is copied.
            self.changes.changed(key);
            if !moved {
                if self.subscribes {
                    if own.len() >= MOST_OWN {
                        // The reports of these writes will remove the copies, which costs a read of the store each.
                        own.clear();
                    }
                    own.insert(key.clone());
                }
                self.put(key, copy, self.end(fresh, stamp));
                return;
            }
            self.remove(key);
        }
        // A change was reported, of this write or of another one, or this process made another change.
        self.keep_if_last(key, copy, self.end(fresh, stamp), version);
    }

    /// Stores a copy of what was written as `version`, until its `end`, if the store still has that version.
    fn keep_if_last(self: &Arc<Self>, key: &Key, copy: Value, end: Option<Instant>, version: Version) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (near, key) = (Arc::clone(self), key.clone());
        runtime.spawn(async move {
            for _ in 0..QUESTIONS {
                let stamp = near.stamp(&key);
                let last = matches!(near.far.version(&key).await, Ok(Some(last)) if last == version);
                if !last || near.keep_until(&key, copy.clone(), end, stamp) {
                    return;
                }
            }
        });
    }

    /// Stores a copy until its `end`, unless a change was reported since `stamp`. Returns whether it was stored.
    fn keep_until(&self, key: &Key, copy: Value, end: Option<Instant>, stamp: ChangeStamp) -> bool {
        let _turn = self.turn();
        let unmoved = self.changes.stamp(key) == stamp;
        if unmoved {
            self.put(key, copy, end);
        }
        unmoved
    }

    /// Handles the report that the record under `key` was changed.
    pub(crate) fn changed(self: &Arc<Self>, key: &Key) {
        let own = {
            let mut own = self.turn();
            self.changes.changed(key);
            let copied = own.remove(key).then(|| self.copy(key)).flatten();
            self.remove(key);
            copied
        };
        // The change may have been this process's own write, and the last one.
        if let Some(record) = own
            && let Some(version) = copy::version(&record)
        {
            let end = record.remaining.and_then(after);
            self.keep_if_last(key, record.value, end, version);
        }
    }

    /// Removes the copy of a record that this process has deleted, or changed in another way than by writing a value.
    /// Afterwards, there is no copy of what was read before, and none will be stored.
    pub(crate) fn forget(&self, key: &Key) {
        let mut own = self.turn();
        self.changes.changed(key);
        own.remove(key);
        self.remove(key);
    }

    /// Removes the copies of all records in `scope`, which this process has changed. Afterwards, there is no copy of
    /// what was read before, and none will be stored.
    pub(crate) async fn forget_all(&self, scope: &Scope) {
        {
            let mut own = self.turn();
            self.changes.everything_changed();
            own.retain(|key| !scope.contains(key));
        }
        // Unlike a lookup, clearing may have to wait.
        if self.copies.clear(scope).await.is_err() {
            self.forget_everything();
        }
    }

    /// Ends all copies, because any record may have changed. Their memory is freed when other copies need it.
    pub(crate) fn forget_everything(&self) {
        let mut own = self.turn();
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.changes.everything_changed();
        own.clear();
    }

    /// Returns the end of a copy whose value is fresh for `fresh`, and was read or written after `stamp`.
    fn end(&self, fresh: Option<Duration>, stamp: ChangeStamp) -> Option<Instant> {
        // Counted from before the store operation, because changes after it may go undetected.
        let oldest = self.max_age.and_then(|age| stamp.at.checked_add(age));
        match (fresh.and_then(after), oldest) {
            (Some(fresh), Some(oldest)) => Some(fresh.min(oldest)),
            (one, other) => one.or(other),
        }
    }

    fn put(&self, key: &Key, copy: Value, end: Option<Instant>) {
        let lifetime = end.map(|end| end.saturating_duration_since(Instant::now()));
        if lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
            self.remove(key);
            return;
        }
        let options = SetOptions::new(lifetime.map_or(Ttl::FOREVER, Ttl::from));
        let _ = self.copies.set(key, copy, options).now_or_never();
    }

    #[inline]
    fn copy(&self, key: &Key) -> Option<Record> {
        self.copies.get(key).now_or_never()?.ok()?
    }

    fn remove(&self, key: &Key) {
        let _ = self.copies.delete(key).now_or_never();
    }

    /// Locks the copies, so that deciding about a copy and changing it are one step. Guards the writes of this process
    /// whose changes are still to be reported.
    fn turn(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the instant `time` from now, or `None` if that is too far away to express.
fn after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}
