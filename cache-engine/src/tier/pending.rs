//! Invalidations that the store has not carried out yet.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::{Error, ErrorKind, Key, Prefix, Tags, Timestamp};
use tokio::time::Instant;

use crate::tags::name::carried;
use crate::tags::records::Verdict;
use crate::tier::pending_file::PendingFile;
use crate::tier::target::Target;

/// The limit for targets that are remembered individually. Beyond it, keys are replaced by their namespaces, and tags
/// by everything.
const MOST: usize = 10_000;

/// The pause between two attempts to carry them out.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

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
    /// Whether an attempt is running.
    busy: AtomicBool,
    /// Whether the task that retries is running.
    pub(super) retrying: AtomicBool,
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
}

impl Pending {
    /// Creates the pending invalidations of the cache with `prefix`, stored in the file at `path` if there is one.
    pub(crate) fn new(path: Option<PathBuf>, prefix: &Prefix) -> Self {
        Self {
            file: path.map(|path| PendingFile::new(path, prefix)),
            ..Self::default()
        }
    }

    /// Adds the invalidations that are stored in the file.
    pub(super) fn read_file(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        for (target, soft, since) in file.read()? {
            self.add(target, soft, since);
        }
        Ok(())
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

    /// Like [`write_file`](Self::write_file), but blocks.
    pub(super) fn write_file_now(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let wanted = self.lock().changes;
        file.write(wanted, || {
            let set = self.lock();
            let entries = set
                .targets
                .iter()
                .map(|(target, how)| (target.clone(), how.soft, how.since));
            (set.changes, entries.collect())
        })
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

    /// Judges an entry by the pending invalidations.
    pub(super) fn verdict(&self, key: &Key, tags: &Tags) -> Option<Verdict> {
        if self.is_empty() {
            return None;
        }
        let set = self.lock();
        let concerning = [
            Target::Everything,
            Target::Namespace(key.namespace()),
            Target::Key(key.clone()),
        ];
        let direct = concerning.iter().filter_map(|target| set.targets.get(target));
        let tagged = set.targets.iter().filter_map(|(target, how)| match target {
            Target::Tag(tag) => {
                let name = carried(tag);
                tags.iter().any(|(carried, _)| carried == name).then_some(how)
            }
            _ => None,
        });
        let verdicts = direct.chain(tagged).map(|how| match how.soft {
            true => Verdict::Stale(how.since),
            false => Verdict::Gone,
        });
        verdicts.reduce(Verdict::or)
    }

    /// Begins an attempt to carry out the pending invalidations. Returns `None` if there are none, if another attempt
    /// is running, or if the last one was just now.
    pub(super) fn attempt(&self, at_once: bool) -> Option<Attempt<'_>> {
        if self.is_empty() || self.busy.swap(true, Ordering::AcqRel) {
            return None;
        }
        let attempt = Attempt { pending: self };
        let mut set = self.lock();
        if !at_once && set.last_attempt.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        set.last_attempt = Some(Instant::now());
        Some(attempt)
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
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
}

impl Attempt<'_> {
    pub(super) fn targets(&self) -> Vec<(Target, How)> {
        let set = self.pending.lock();
        set.targets.iter().map(|(target, how)| (target.clone(), *how)).collect()
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

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.pending.busy.store(false, Ordering::Release);
    }
}
