//! Invalidations that the store did not carry out, until it does.

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

/// How many are remembered one by one. Beyond, keys become their namespaces, and tags become everything.
const MOST: usize = 10_000;

/// The pause between two attempts to carry them out.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// How, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct How {
    pub(super) soft: bool,
    since: Timestamp,
    /// Tells a later invalidation of the same target from an earlier one.
    number: usize,
}

/// Invalidations that the store did not carry out. What they concern counts as invalid in this process meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// How many there are.
    count: AtomicUsize,
    set: Mutex<Set>,
    /// An attempt runs.
    busy: AtomicBool,
    /// The task is there that tries again and again.
    pub(super) retrying: AtomicBool,
    /// Keeps them over a restart, by choice.
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
    /// Pending invalidations of the cache with `prefix`, kept in the file at `path` if there is one.
    pub(crate) fn new(path: Option<PathBuf>, prefix: &Prefix) -> Self {
        Self {
            file: path.map(|path| PendingFile::new(path, prefix)),
            ..Self::default()
        }
    }

    /// Adds what the file has kept.
    pub(super) fn read_file(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        for (target, soft, since) in file.read()? {
            self.add(target, soft, since);
        }
        Ok(())
    }

    /// Waits until the file has all that is pending now. Dropping the future does not stop the writing.
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

    /// As [`write_file`](Self::write_file). Blocks.
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

    /// What the pending invalidations make of an entry.
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

    /// Begins an attempt to carry them out. `None` if there are none, another attempt runs, or the last one was just now.
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

    /// Takes note that `target` was carried out.
    pub(super) fn done(&self, target: &Target, how: How) {
        let mut set = self.pending.lock();
        // It may have failed once more since.
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
