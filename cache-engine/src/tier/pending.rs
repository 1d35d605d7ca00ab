//! Invalidations that the store has not carried out yet.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::{Error, ErrorKind, Key, Prefix, Tags, Timestamp};
use tokio::sync::MutexGuard as AsyncMutexGuard;
use tokio::time::Instant;

use crate::tags::name::of_carried;
use crate::tags::records::{Verdict, worse};
use crate::tier::pending_file::{Entry, PendingFile};
use crate::tier::target::InvalidationTarget as Target;

/// The limit for targets that are remembered individually. Beyond it, keys are replaced by their namespaces, and tags
/// by everything.
const MOST: usize = 10_000;

/// The pause between two attempts to carry them out.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts while the store refuses them.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause between two attempts of reads, and of all while the refusal is one that passes.
const LONGEST_PAUSE_OF_READS: Duration = Duration::from_secs(2);

/// The number of targets that are carried out at the same time, and that a read waits for at most.
const BATCH: usize = 32;

/// How a target was invalidated, and since when it counts as invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct How {
    pub(super) soft: bool,
    since: Timestamp,
    /// Distinguishes a later invalidation of the same target from an earlier one.
    number: usize,
}

/// Invalidations that the store has not carried out yet. Meanwhile, what they concern is invalid in this process.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The number of pending invalidations.
    count: AtomicUsize,
    set: Mutex<Set>,
    /// Held by the attempt that is running.
    busy: tokio::sync::Mutex<()>,
    /// Whether the task that retries is running.
    retrying: AtomicBool,
    /// Stores the pending invalidations across a restart, if configured.
    file: Option<PendingFile>,
}

#[derive(Debug, Default)]
struct Set {
    targets: HashMap<Target, How>,
    numbers: usize,
    /// Counts the changes of the set.
    changes: usize,
    last_attempt: Option<Instant>,
    /// How many attempts have begun.
    attempts: usize,
    /// What `numbers` was when the last attempt at everything began.
    seen: usize,
    /// The pause between two attempts, if the store has refused the last ones.
    refused_for: Option<Duration>,
}

impl Pending {
    /// Creates the pending invalidations of the cache with `prefix`, stored in the file at `path` if there is one.
    pub(crate) fn new(path: Option<PathBuf>, prefix: &Prefix) -> Self {
        Self {
            file: path.map(|path| PendingFile::new(path, prefix)),
            ..Self::default()
        }
    }

    /// Creates the pending purges of the same cache at one of its servers, stored in a file beside that at `path`.
    pub(super) fn of_purges(path: Option<&Path>, server: usize, prefix: &Prefix) -> Self {
        Self {
            file: path.map(|path| PendingFile::of_purges(path, server, prefix)),
            ..Self::default()
        }
    }

    /// Adds the invalidations that are stored in the file.
    pub(super) fn read_file(&self) -> Result<(), Error> {
        self.add_all(self.stored()?);
        Ok(())
    }

    /// Returns the invalidations that are stored in the file.
    pub(super) fn stored(&self) -> Result<Vec<Entry>, Error> {
        self.file.as_ref().map_or(Ok(Vec::new()), PendingFile::read)
    }

    /// Waits until the file contains all that is pending now. Dropping the future does not stop the writing.
    pub(super) async fn write_file(self: &Arc<Self>) -> Result<(), Error> {
        if self.file.is_none() {
            return Ok(());
        }
        let pending = Arc::clone(self);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime
                .spawn_blocking(move || pending.write_file_now())
                .await
                .unwrap_or_else(|error| Err(Error::new(ErrorKind::Other, error.to_string()))),
            Err(_) => pending.write_file_now(),
        }
    }

    /// Writes the file in the background, or at once if there is no runtime, or if it is shutting down.
    pub(super) fn write_file_later(self: &Arc<Self>) {
        if self.file.is_none() {
            return;
        }
        let writing = WritesFile(Arc::clone(self));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(writing));
        }
    }

    /// Like [`write_file`](Self::write_file), but blocks.
    pub(super) fn write_file_now(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let wanted = self.lock().changes;
        let add = |entries| self.add_all(entries);
        file.write(wanted, add, || {
            let set = self.lock();
            let entries = set
                .targets
                .iter()
                .map(|(target, how)| (target.clone(), how.soft, how.since));
            (set.changes, entries.collect())
        })
    }

    pub(super) fn add_all(&self, entries: Vec<Entry>) {
        for (target, soft, since) in entries {
            self.add(target, soft, since);
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn add(&self, target: Target, soft: bool, since: Timestamp) {
        let mut set = self.lock();
        set.numbers += 1;
        set.changes += 1;
        let number = set.numbers;
        set.add(target, How { soft, since, number });
        if set.targets.len() > MOST {
            set.coarsen();
        }
        self.count.store(set.targets.len(), Ordering::Release);
    }

    /// Returns the number of invalidations that have become pending so far.
    pub(crate) fn so_far(&self) -> usize {
        self.lock().numbers
    }

    /// Judges an entry by the pending invalidations.
    pub(crate) fn verdict(&self, key: &Key, tags: &Tags) -> Option<Verdict> {
        worse(self.verdict_of_key(key), self.verdict_of_tags(tags))
    }

    /// Judges what is stored under a key by the pending invalidations of the key, of its namespace, and of everything.
    /// Call this before the record is read: the invalidation may be carried out between the two.
    pub(super) fn verdict_of_key(&self, key: &Key) -> Option<Verdict> {
        if self.is_empty() {
            return None;
        }
        let concerning = [
            Target::Everything,
            Target::Namespace(key.namespace()),
            Target::Key(key.clone()),
        ];
        let set = self.lock();
        let hows = concerning.iter().filter_map(|target| set.targets.get(target));
        hows.map(How::verdict).reduce(Verdict::or)
    }

    /// Judges an entry by the pending invalidations of its tags. Call this after the entry was read, and before the
    /// records of its tags are.
    pub(super) fn verdict_of_tags(&self, tags: &Tags) -> Option<Verdict> {
        if self.is_empty() || tags.is_empty() {
            return None;
        }
        let set = self.lock();
        set.of_tags(tags).map(How::verdict).reduce(Verdict::or)
    }

    /// Returns whether an invalidation of one of `tags` is pending that was not when [`so_far`](Self::so_far) returned
    /// `number`.
    pub(super) fn has_later(&self, tags: &Tags, number: usize) -> bool {
        !self.is_empty() && self.lock().of_tags(tags).any(|how| how.number > number)
    }

    /// Begins an attempt to carry out the pending invalidations. Returns `None` if there are none, if another attempt
    /// is running, or if the last one was just now.
    pub(super) fn attempt(&self) -> Option<Attempt<'_>> {
        if self.is_empty() {
            return None;
        }
        let busy = self.busy.try_lock().ok()?;
        let mut set = self.lock();
        let pause = set.refused_for.unwrap_or(PAUSE).min(LONGEST_PAUSE_OF_READS);
        if set.last_attempt.is_some_and(|last| last.elapsed() < pause) {
            return None;
        }
        set.begin_attempt();
        Some(Attempt {
            pending: self,
            _busy: busy,
        })
    }

    /// Begins an attempt as soon as no other is running.
    pub(super) async fn next_attempt(&self) -> Attempt<'_> {
        let busy = self.busy.lock().await;
        self.begin(busy)
    }

    /// Like [`next_attempt`](Self::next_attempt), but returns `None` if another attempt, which has ended by then, began when
    /// [`so_far`](Self::so_far) returned `number` or more.
    pub(super) async fn attempt_at(&self, number: usize) -> Option<Attempt<'_>> {
        let busy = self.busy.lock().await;
        let is_tried = self.lock().seen >= number;
        (!is_tried).then(|| self.begin(busy))
    }

    fn begin<'a>(&'a self, busy: AsyncMutexGuard<'a, ()>) -> Attempt<'a> {
        let mut set = self.lock();
        set.begin_attempt();
        set.seen = set.numbers;
        drop(set);
        Attempt {
            pending: self,
            _busy: busy,
        }
    }

    /// Returns whether to try everything again in the background: after a pause that grows while the store refuses it, or
    /// if there is something new.
    pub(super) fn is_due(&self) -> bool {
        let set = self.lock();
        let Some(pause) = set.refused_for else { return true };
        set.seen < set.numbers || set.last_attempt.is_none_or(|last| last.elapsed() >= pause)
    }

    /// Returns the right to retry in the background, unless a task has it.
    pub(super) fn retry(self: &Arc<Self>) -> Option<Retrying> {
        (!self.retrying.swap(true, Ordering::SeqCst)).then(|| Retrying(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the one task that retries, which ends with its runtime at the latest.
#[derive(Debug)]
pub(super) struct Retrying(Arc<Pending>);

impl Retrying {
    /// Ends the task if `is_done` still holds when others may begin one: what was added before that found that the task
    /// was running. Returns the right otherwise, unless another task has begun.
    pub(super) fn end(self, is_done: impl FnOnce() -> bool) -> Option<Self> {
        let pending = Arc::clone(&self.0);
        drop(self);
        if is_done() { None } else { pending.retry() }
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.retrying.store(false, Ordering::SeqCst);
    }
}

/// Writes the file when it is dropped: by a thread that may block, or, if the runtime has none left, where it is.
struct WritesFile(Arc<Pending>);

impl Drop for WritesFile {
    fn drop(&mut self) {
        // There is nobody left to report a failure to.
        let _ = self.0.write_file_now();
    }
}

impl How {
    fn verdict(&self) -> Verdict {
        match self.soft {
            true => Verdict::Stale(self.since),
            false => Verdict::Gone,
        }
    }
}

impl Set {
    /// Returns how the pending ones of the tags that an entry carries were invalidated.
    fn of_tags<'a>(&'a self, tags: &'a Tags) -> impl Iterator<Item = &'a How> {
        let tags = tags.iter().filter_map(|(name, _)| of_carried(name));
        tags.filter_map(|tag| self.targets.get(&Target::Tag(tag.into())))
    }

    fn begin_attempt(&mut self) {
        self.last_attempt = Some(Instant::now());
        self.attempts = self.attempts.wrapping_add(1);
    }

    fn add(&mut self, target: Target, mut how: How) {
        if let Some(known) = self.targets.get(&target) {
            how.soft &= known.soft;
        }
        self.targets.insert(target, how);
    }

    fn coarsen(&mut self) {
        for (target, how) in std::mem::take(&mut self.targets) {
            let target = match target {
                Target::Key(key) => Target::Namespace(key.namespace()),
                Target::Tag(_) => Target::Everything,
                target => target,
            };
            // A namespace may not be clearable softly.
            self.add(target, How { soft: false, ..how });
        }
        if self.targets.len() > MOST {
            let how = self.targets.drain().map(|(_, how)| how).next();
            self.targets.extend(how.map(|how| (Target::Everything, how)));
        }
    }
}

/// An attempt to carry out what is pending. Only one runs at a time.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pending: &'a Pending,
    _busy: AsyncMutexGuard<'a, ()>,
}

impl Attempt<'_> {
    /// Returns what is pending now, in batches. Each attempt begins with others, so that none that is refused keeps the
    /// others from their turn.
    pub(super) fn batches(&self) -> Vec<Vec<(Target, How)>> {
        let set = self.pending.lock();
        let mut targets: Vec<_> = set.targets.iter().map(|(target, how)| (target.clone(), *how)).collect();
        if !targets.is_empty() {
            let first = set.attempts.wrapping_mul(BATCH) % targets.len();
            targets.rotate_left(first);
        }
        targets.chunks(BATCH).map(<[_]>::to_vec).collect()
    }

    /// Records whether the store refused everything that was tried, and whether that passes soon.
    pub(super) fn ended(&self, refused: bool, passing: bool) {
        let mut set = self.pending.lock();
        set.refused_for = refused.then(|| {
            let pause = set.refused_for.map_or(PAUSE, |pause| pause.saturating_mul(2));
            pause.min(if passing { LONGEST_PAUSE_OF_READS } else { LONGEST_PAUSE })
        });
    }

    /// Records that `target` was carried out.
    pub(super) fn done(&self, target: &Target, how: How) {
        let mut set = self.pending.lock();
        // The invalidation may have failed once more since.
        if set.targets.get(target) == Some(&how) {
            set.targets.remove(target);
            set.changes += 1;
        }
        self.pending.count.store(set.targets.len(), Ordering::Release);
    }
}
