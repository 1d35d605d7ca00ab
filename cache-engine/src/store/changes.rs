//! Tracks changes to the store's records: whether the store reports them, and which it has reported.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::Key;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The number of counters that the changes of all keys are spread over.
const SLOTS: usize = 1024;

/// Tracks changes to the store's records.
///
/// A reader that wants to hold a copy of a record takes a [`ChangeStamp`] first. If the stamp is unchanged once the
/// copy is in place, no change was reported in between, and every later report finds the copy there.
#[derive(Debug)]
pub(crate) struct Changes {
    /// How long after the last heartbeat the change subscription counts as lost.
    bound: Duration,
    start: Instant,
    /// The moment up to which all changes have been reported, in nanoseconds from the start, plus one. Zero if the
    /// subscription is lost.
    reported_until: AtomicU64,
    hasher: RandomState,
    slots: Box<[AtomicU64]>,
    /// Counts the changes that may concern any record.
    all: AtomicU64,
    /// Counts the changes of the records that the toolkit stores for its own use.
    reserved: AtomicU64,
    waiting: Mutex<HashMap<Key, Arc<Notify>>>,
}

/// A moment in the history of a record's changes. Two stamps are equal if no change lies between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChangeStamp {
    of_slot: u64,
    of_all: u64,
    /// When the stamp was taken.
    pub(crate) at: Instant,
}

impl ChangeStamp {
    /// Returns the same stamp, dated back to `at`, for data that is known only as of that time.
    pub(crate) fn as_of(self, at: Instant) -> Self {
        Self { at, ..self }
    }
}

impl PartialEq for ChangeStamp {
    fn eq(&self, other: &Self) -> bool {
        (self.of_slot, self.of_all) == (other.of_slot, other.of_all)
    }
}

impl Changes {
    pub(crate) fn new(bound: Duration) -> Self {
        Self {
            bound,
            start: Instant::now(),
            reported_until: AtomicU64::new(0),
            hasher: RandomState::new(),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Returns how long after the last heartbeat the change subscription counts as lost.
    pub(crate) fn bound(&self) -> Duration {
        self.bound
    }

    /// Returns whether all changes older than the bound have been reported.
    pub(crate) fn are_reported(&self) -> bool {
        match self.reported_until.load(Ordering::Acquire) {
            0 => false,
            until => self.start.elapsed().saturating_sub(Duration::from_nanos(until)) < self.bound,
        }
    }

    /// Records that every change before `moment` has been reported. Returns whether changes went unreported before this
    /// call.
    pub(crate) fn reported_until(&self, moment: Instant) -> bool {
        let nanos = moment.saturating_duration_since(self.start).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1);
        self.reported_until.swap(nanos, Ordering::AcqRel) == 0
    }

    /// Records that changes may go unreported from now on. Returns whether they were being reported before this call.
    pub(crate) fn lost(&self) -> bool {
        self.reported_until.swap(0, Ordering::AcqRel) != 0
    }

    pub(crate) fn stamp(&self, key: &Key) -> ChangeStamp {
        ChangeStamp {
            of_slot: self.slot(key).load(Ordering::SeqCst),
            of_all: self.all.load(Ordering::SeqCst),
            at: Instant::now(),
        }
    }

    /// Returns a stamp of the changes to the toolkit's own records.
    pub(crate) fn reserved_stamp(&self) -> ChangeStamp {
        ChangeStamp {
            of_slot: self.reserved.load(Ordering::SeqCst),
            of_all: self.all.load(Ordering::SeqCst),
            at: Instant::now(),
        }
    }

    /// Records that the record under `key` was changed.
    pub(crate) fn changed(&self, key: &Key) {
        self.slot(key).fetch_add(1, Ordering::SeqCst);
        if key.is_reserved() {
            self.reserved.fetch_add(1, Ordering::SeqCst);
        }
        let waiting = self.waiting();
        if let Some(notify) = waiting.get(key) {
            notify.notify_waiters();
        }
    }

    /// Records that any record may have been changed.
    pub(crate) fn everything_changed(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
        for notify in self.waiting().values() {
            notify.notify_waiters();
        }
    }

    /// Starts listening for the next change of the record under `key`.
    pub(crate) fn listen(self: &Arc<Self>, key: &Key) -> ChangeListener {
        ChangeListener {
            stamp: self.stamp(key),
            notify: Some(Arc::clone(self.waiting().entry(key.clone()).or_default())),
            changes: Arc::clone(self),
            key: key.clone(),
        }
    }

    fn slot(&self, key: &Key) -> &AtomicU64 {
        let hash = self.hasher.hash_one(key.as_str());
        &self.slots[usize::try_from(hash % SLOTS as u64).unwrap_or(0)]
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens for the next change of a record.
#[derive(Debug)]
pub(crate) struct ChangeListener {
    changes: Arc<Changes>,
    key: Key,
    stamp: ChangeStamp,
    notify: Option<Arc<Notify>>,
}

impl ChangeListener {
    /// Waits for the next change.
    pub(crate) async fn changed(self) {
        let Some(notify) = &self.notify else { return };
        loop {
            let mut notified = pin!(notify.notified());
            // Registered before the stamp is compared, so that no change between the two is missed.
            notified.as_mut().enable();
            if self.changes.stamp(&self.key) != self.stamp {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for ChangeListener {
    fn drop(&mut self) {
        let mut waiting = self.changes.waiting();
        // Releases the notifier before checking whether any other listener holds it.
        self.notify = None;
        if waiting
            .get(&self.key)
            .is_some_and(|notify| Arc::strong_count(notify) == 1)
        {
            waiting.remove(&self.key);
        }
    }
}
