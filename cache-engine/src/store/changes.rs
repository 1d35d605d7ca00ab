//! What is known of changes to the store's records: whether it tells of them, and what it told.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::Key;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How many counters the changes of all keys are spread over.
const SLOTS: usize = 1024;

/// What is known of changes to the store's records.
///
/// Whoever reads a record to keep a copy of it takes a [`ChangeStamp`] first. If the stamp has not moved when the copy is in its
/// place, nothing was told in between, and what is told from then on finds the copy there.
#[derive(Debug)]
pub(crate) struct Changes {
    /// How long after the last sign of life the stream of changes counts as lost.
    bound: Duration,
    start: Instant,
    /// Up to when everything has been told of, in nanoseconds from the start, and one more; zero if the stream is lost.
    told_until: AtomicU64,
    hasher: RandomState,
    slots: Box<[AtomicU64]>,
    /// Of all records together.
    all: AtomicU64,
    /// Of the records that the toolkit keeps for its own use.
    reserved: AtomicU64,
    waiting: Mutex<HashMap<Key, Arc<Notify>>>,
}

/// A moment in the history of a record's changes. Two are equal if there is no change between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChangeStamp {
    of_slot: u64,
    of_all: u64,
    /// When it was taken.
    pub(crate) at: Instant,
}

impl ChangeStamp {
    /// The same, for what is known as of an earlier time only.
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
            told_until: AtomicU64::new(0),
            hasher: RandomState::new(),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// How long after the last sign of life the stream of changes counts as lost.
    pub(crate) fn bound(&self) -> Duration {
        self.bound
    }

    /// Whether every change of a while ago, by the bound, has been told of.
    pub(crate) fn are_told(&self) -> bool {
        match self.told_until.load(Ordering::Acquire) {
            0 => false,
            until => self.start.elapsed().saturating_sub(Duration::from_nanos(until)) < self.bound,
        }
    }

    /// Every change before `moment` has been told of. Tells whether that is news, because changes went untold so far.
    pub(crate) fn told_until(&self, moment: Instant) -> bool {
        let nanos = moment.saturating_duration_since(self.start).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1);
        self.told_until.swap(nanos, Ordering::AcqRel) == 0
    }

    /// Changes may go untold from now on. Tells whether they were told of so far.
    pub(crate) fn lost(&self) -> bool {
        self.told_until.swap(0, Ordering::AcqRel) != 0
    }

    pub(crate) fn stamp(&self, key: &Key) -> ChangeStamp {
        ChangeStamp {
            of_slot: self.slot(key).load(Ordering::SeqCst),
            of_all: self.all.load(Ordering::SeqCst),
            at: Instant::now(),
        }
    }

    /// How often records of the toolkit's own were changed.
    pub(crate) fn reserved_stamp(&self) -> ChangeStamp {
        ChangeStamp {
            of_slot: self.reserved.load(Ordering::SeqCst),
            of_all: self.all.load(Ordering::SeqCst),
            at: Instant::now(),
        }
    }

    /// The record under `key` was changed.
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

    /// Any record may have been changed.
    pub(crate) fn everything_changed(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
        for notify in self.waiting().values() {
            notify.notify_waiters();
        }
    }

    /// Begins to listen for the next change of the record under `key`.
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
    /// Waits for the change.
    pub(crate) async fn changed(self) {
        let Some(notify) = &self.notify else { return };
        loop {
            let mut told = pin!(notify.notified());
            // Registered before the stamp is looked at, so that nothing between the two is missed.
            told.as_mut().enable();
            if self.changes.stamp(&self.key) != self.stamp {
                return;
            }
            told.await;
        }
    }
}

impl Drop for ChangeListener {
    fn drop(&mut self) {
        let mut waiting = self.changes.waiting();
        // Lets go of the notifier before it is asked whether anybody else holds it.
        self.notify = None;
        if waiting
            .get(&self.key)
            .is_some_and(|notify| Arc::strong_count(notify) == 1)
        {
            waiting.remove(&self.key);
        }
    }
}
