//! The purges that caches downstream are to be told of.

use std::collections::VecDeque;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache_core::{Clock, Error, ErrorKind, Prefix};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::event::{Event, Events};
use crate::panics::panic_message;
use crate::tier::pending::{Attempt, LONGEST_PAUSE, PAUSE, Pending};
use crate::tier::pending_file::Entry;
use crate::tier::purger::{Purge, Purger};
use crate::tier::target::InvalidationTarget;

/// The purges of a cache at all servers downstream, or at one purger that stands for them.
#[derive(Debug, Default)]
pub(crate) struct Downstream(Vec<Arc<Purges>>);

impl Downstream {
    pub(crate) fn new(
        purger: Arc<dyn Purger>,
        file: Option<&Path>,
        prefix: &Prefix,
        clock: &Arc<dyn Clock>,
        events: &Events,
        foreground: bool,
    ) -> Self {
        let mut purgers = purger.by_server();
        if purgers.is_empty() {
            purgers.push(purger);
        }
        let queues = purgers.into_iter().enumerate().map(|(number, purger)| {
            let pending = Pending::of_purges(file, number, prefix);
            Purges::new(purger, pending, clock, events, foreground)
        });
        let queues: Vec<_> = queues.collect();
        // All from all files, since the servers may be others than before the restart. To purge once more does no harm.
        let before: Vec<_> = queues.iter().flat_map(|purges| purges.read_file()).collect();
        for purges in &queues {
            purges.pending.add_all(before.clone());
            purges.work();
        }
        Self(queues)
    }

    /// Returns how many purges were not carried out yet, at the server that lacks most.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|purges| purges.count()).max().unwrap_or_default()
    }

    /// Adds purges. They are carried out in the background.
    pub(super) fn add(&self, targets: &[InvalidationTarget], soft: bool) {
        for purges in &self.0 {
            purges.add(targets, soft);
        }
    }

    /// Adds purges of what a caller has just invalidated. In the foreground mode, this waits for one attempt, and no longer
    /// than a purger may take.
    pub(super) async fn add_of_caller(&self, targets: impl FnOnce() -> Vec<InvalidationTarget>, soft: bool) {
        if self.0.is_empty() {
            return;
        }
        // First, since the caller may leave.
        self.add(&targets(), soft);
        join_all(self.0.iter().map(|purges| purges.wait_for_caller())).await;
    }

    /// Tries once to carry out all that is pending, after an attempt that is running.
    pub(crate) async fn settle(&self) {
        join_all(self.0.iter().map(|purges| purges.settle())).await;
    }

    /// Carries out all that is pending, before the process ends, also what would be repeated later. Gives up at `until`.
    pub(crate) async fn settle_last(&self, until: Instant) {
        join_all(self.0.iter().map(|purges| purges.settle_last(until))).await;
    }
}

/// What a purger is still to be told of, and what it is to be told of once more.
struct Purges {
    purger: Arc<dyn Purger>,
    /// What the purger was not told of yet, or refused.
    pending: Arc<Pending>,
    /// What is to be repeated, in the order of time.
    repeated: Mutex<VecDeque<(Instant, Vec<Purge>)>>,
    /// Notified of new purges.
    added: Arc<Notify>,
    clock: Arc<dyn Clock>,
    events: Events,
    /// Whether those who invalidate wait for an attempt.
    foreground: bool,
}

impl Purges {
    fn new(
        purger: Arc<dyn Purger>,
        pending: Pending,
        clock: &Arc<dyn Clock>,
        events: &Events,
        foreground: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            purger,
            pending: Arc::new(pending),
            repeated: Mutex::default(),
            added: Arc::default(),
            clock: Arc::clone(clock),
            events: events.clone(),
            foreground,
        })
    }

    fn read_file(&self) -> Vec<Entry> {
        self.pending.stored().unwrap_or_else(|error| {
            self.events.emit(&Event::PendingFileFailed { error: &error });
            Vec::new()
        })
    }

    fn count(&self) -> usize {
        self.pending.count()
    }

    fn add(self: &Arc<Self>, targets: &[InvalidationTarget], soft: bool) {
        let since = self.clock.now();
        for target in targets {
            self.pending.add(target.clone(), soft, since);
        }
        self.added.notify_one();
        self.work();
    }

    /// In the foreground mode, waits for one attempt at all that is pending now, by whomever, and no longer than the purger
    /// may take: others may have to wait for their attempts before.
    async fn wait_for_caller(&self) {
        if !self.foreground {
            return;
        }
        let newest = self.pending.so_far();
        let attempt = async {
            if let Some(attempt) = self.pending.attempt_at(newest).await {
                self.carry_out(attempt).await;
            }
        };
        let _ = timeout(self.purger.timeout(), attempt).await;
    }

    async fn settle(&self) {
        if !self.pending.is_empty() {
            self.attempt().await;
        }
    }

    async fn settle_last(&self, until: Instant) {
        let _ = tokio::time::timeout_at(until, async {
            while !self.is_done() {
                if !self.attempt().await {
                    sleep(PAUSE).await;
                    continue;
                }
                self.repeat_until(None).await;
            }
        })
        .await;
        self.write_file().await;
    }

    /// Tries to carry out all that is pending. Returns whether that succeeded.
    async fn attempt(&self) -> bool {
        let attempt = self.pending.next_attempt().await;
        self.carry_out(attempt).await
    }

    async fn carry_out(&self, attempt: Attempt<'_>) -> bool {
        let (mut count, mut failed) = (0, false);
        for batch in attempt.batches() {
            let purges = batch.iter().map(|(target, how)| Purge::new(target.clone(), how.soft));
            let purges: Vec<Purge> = purges.collect();
            if let Err(error) = self.purge(&purges).await {
                failed = true;
                self.events.emit(&Event::PurgeFailed {
                    error: &error,
                    count: self.pending.count(),
                });
                if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) {
                    break;
                }
                continue;
            }
            count += purges.len();
            for (target, how) in &batch {
                attempt.done(target, *how);
            }
            self.repeat_later(purges);
        }
        drop(attempt);
        if count > 0 {
            self.events.emit(&Event::Purged { count });
        }
        // What was pending before may be in the file, too.
        if failed || count > 0 {
            self.write_file().await;
        }
        !failed
    }

    async fn purge(&self, purges: &[Purge]) -> Result<(), Error> {
        let limit = self.purger.timeout();
        let purge = AssertUnwindSafe(async { self.purger.purge(purges).await }).catch_unwind();
        let failed = |kind, message: String| Err(Error::new(kind, message).with_operation("purge"));
        match timeout(limit, purge).await {
            Ok(Ok(purged)) => purged,
            Ok(Err(panic)) => failed(
                ErrorKind::Other,
                format!("the purger panicked: {}", panic_message(&*panic)),
            ),
            Err(_) => failed(ErrorKind::Timeout, format!("the purger did not end within {limit:?}")),
        }
    }

    fn repeat_later(&self, purges: Vec<Purge>) {
        // A time that is too far away to express is never.
        if let Some(due) = self
            .purger
            .repeats_after()
            .and_then(|time| Instant::now().checked_add(time))
        {
            self.repeated().push_back((due, purges));
        }
    }

    /// Repeats what is due by then, or everything.
    async fn repeat_until(&self, now: Option<Instant>) {
        while let Some(purges) = self.take_due(now) {
            if let Err(error) = self.purge(&purges).await {
                let since = self.clock.now();
                for Purge { target, soft } in purges {
                    self.pending.add(target, soft, since);
                }
                self.events.emit(&Event::PurgeFailed {
                    error: &error,
                    count: self.pending.count(),
                });
            }
        }
    }

    fn take_due(&self, now: Option<Instant>) -> Option<Vec<Purge>> {
        let mut repeated = self.repeated();
        let (due, _) = repeated.front()?;
        if now.is_some_and(|now| *due > now) {
            return None;
        }
        repeated.pop_front().map(|(_, purges)| purges)
    }

    fn next_due(&self) -> Option<Instant> {
        self.repeated().front().map(|(due, _)| *due)
    }

    async fn write_file(&self) {
        if let Err(error) = self.pending.write_file().await {
            self.events.emit(&Event::PendingFileFailed { error: &error });
        }
    }

    /// Carries out in the background what is pending, and repeats what is due, until there is nothing left.
    fn work(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.is_done() {
            return;
        }
        let Some(mut retrying) = self.pending.retry() else {
            return;
        };
        let purges = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut pause = PAUSE;
            loop {
                let Some(purges) = purges.upgrade() else { return };
                purges.repeat_until(Some(Instant::now())).await;
                if !purges.pending.is_empty() {
                    if purges.attempt().await {
                        pause = PAUSE;
                    } else {
                        let (next, added) = (Instant::now() + pause, Arc::clone(&purges.added));
                        drop(purges);
                        sleep(PAUSE).await;
                        // What is new need not wait for what has failed.
                        tokio::select! {
                            () = sleep_until(next) => {}
                            () = added.notified() => {}
                        }
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    continue;
                }
                if let Some(due) = purges.next_due() {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = purges.added.notified() => {}
                    }
                    continue;
                }
                match retrying.end(|| purges.is_done()) {
                    Some(again) => retrying = again,
                    None => return,
                }
            }
        });
    }

    fn is_done(&self) -> bool {
        self.pending.is_empty() && self.repeated().is_empty()
    }

    fn repeated(&self) -> MutexGuard<'_, VecDeque<(Instant, Vec<Purge>)>> {
        self.repeated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Purges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purges")
            .field("pending", &self.pending.count())
            .finish_non_exhaustive()
    }
}
