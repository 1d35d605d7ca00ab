//! The near tier: copies in this process of what is in a store elsewhere.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::{Backend, Key, Record, Scope, SetOptions, Ttl, Value, Version};
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::near::copy::{self, Generation};
use crate::store::Store;
use crate::store::changes::{ChangeStamp, Changes};

/// How many writes of this process wait for their own notice at most.
const MOST_OWN: usize = 10_000;

/// How often it is asked whether a copy is the last: a load's lease and its value are told of one after the other.
const QUESTIONS: usize = 3;

/// Copies in this process of what is in a store elsewhere.
///
/// A copy is taken from what was read or written there, and goes when a change of its record is told of. While changes
/// are not told of, copies are of no use, or, if there is a maximum age, until that.
#[derive(Debug)]
pub(crate) struct Near {
    copies: Arc<dyn Backend>,
    far: Arc<Store>,
    max_age: Option<Duration>,
    /// The store tells of changes.
    told: bool,
    changes: Arc<Changes>,
    /// What this process has written, until the notice of that arrives.
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
            told: far.backend().capabilities().subscribe,
            copies,
            far: Arc::clone(far),
            max_age,
            changes: Arc::clone(changes),
            own: Mutex::default(),
            generation: AtomicU64::new(0),
        }
    }

    /// The copy of a record, if copies are of use now.
    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<Record> {
        if !self.is_told() && self.max_age.is_none() {
            return None;
        }
        self.copy(key)
    }

    /// Whether the store tells of changes at the moment.
    pub(crate) fn is_told(&self) -> bool {
        self.told && self.changes.are_told()
    }

    pub(crate) fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// The generation of copies that are made, and used, now.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    pub(crate) fn stamp(&self, key: &Key) -> ChangeStamp {
        self.changes.stamp(key)
    }

    /// Keeps a copy of what was read after `stamp`, unless something was told since.
    pub(crate) fn keep(&self, key: &Key, copy: Value, fresh: Option<Duration>, stamp: ChangeStamp) {
        self.keep_until(key, copy, self.end(fresh, stamp), stamp);
    }

    /// Keeps a copy of what this process wrote, as `version`, after `stamp`.
    ///
    /// The store tells of this process's writes as of all others, and may tell of two writes as one. So at the notice of
    /// an own write the copy is put aside, until it is known whether it is still the last one. So it is if this process
    /// has changed the record in another way before the answer to the write was there, whether the store tells of
    /// changes or not.
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
            // So that nobody keeps what was read before.
            self.changes.changed(key);
            if !moved {
                if self.told {
                    if own.len() >= MOST_OWN {
                        // Their changes will remove the copies, which costs a look into the store.
                        own.clear();
                    }
                    own.insert(key.clone());
                }
                self.put(key, copy, self.end(fresh, stamp));
                return;
            }
            self.remove(key);
        }
        // That was the notice of this write, or of another one, or another change by this process.
        self.keep_if_last(key, copy, self.end(fresh, stamp), version);
    }

    /// Keeps a copy of what was written as `version`, until its `end`, if the store says that nothing was written since.
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

    /// Keeps a copy until its `end`, unless something was told since `stamp`; says whether it did.
    fn keep_until(&self, key: &Key, copy: Value, end: Option<Instant>, stamp: ChangeStamp) -> bool {
        let _turn = self.turn();
        let unmoved = self.changes.stamp(key) == stamp;
        if unmoved {
            self.put(key, copy, end);
        }
        unmoved
    }

    /// The store tells that the record under `key` was changed.
    pub(crate) fn changed(self: &Arc<Self>, key: &Key) {
        let own = {
            let mut own = self.turn();
            self.changes.changed(key);
            let copied = own.remove(key).then(|| self.copy(key)).flatten();
            self.remove(key);
            copied
        };
        // The change may have been this process's own, and the last.
        if let Some(record) = own
            && let Some(version) = copy::version(&record)
        {
            let end = record.remaining.and_then(after);
            self.keep_if_last(key, record.value, end, version);
        }
    }

    /// This process has changed the record, otherwise than by a value. When this has returned, no copy of what was read
    /// before is there, nor will one be put there.
    pub(crate) fn forget(&self, key: &Key) {
        let mut own = self.turn();
        self.changes.changed(key);
        own.remove(key);
        self.remove(key);
    }

    /// This process has changed all records in `scope`. When this has returned, no copy of what was read before is
    /// there, nor will one be put there.
    pub(crate) async fn forget_all(&self, scope: &Scope) {
        {
            let mut own = self.turn();
            self.changes.everything_changed();
            own.retain(|key| !scope.contains(key));
        }
        // Takes its time: unlike a look-up it is not done in one go.
        if self.copies.clear(scope).await.is_err() {
            self.forget_everything();
        }
    }

    /// Any record may have been changed. What was copied so far is not used from now on; its room is freed as others need
    /// it.
    pub(crate) fn forget_everything(&self) {
        let mut own = self.turn();
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.changes.everything_changed();
        own.clear();
    }

    /// When a copy ends of what is fresh for so long, and was read or written after `stamp`.
    fn end(&self, fresh: Option<Duration>, stamp: ChangeStamp) -> Option<Instant> {
        // Counted from before the store was asked: what has changed since may be unknown.
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

    /// Whoever puts or removes a copy does so in turn, so that nothing comes between what is decided and what is done.
    /// What is guarded are the writes of this process whose changes are still to come.
    fn turn(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The moment after so long a time; `None` if that is for ever.
fn after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}
