//! Loads in tasks of their own: for a caller that waits, or in the background. What runs in the background has a context
//! of its own: a span that links to the caller's, a deadline, and an end with the cache.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use crate::load::shared::Shared;
use crate::trace::load::{LoadSpan, RunsFor};
use crate::trace::task::{self, Awaited};

/// How long a shutdown waits for what runs in the background, before it cancels that.
const AT_SHUTDOWN: Duration = Duration::from_secs(5);

impl Shared {
    /// Returns for whom a refresh runs that a call starts in a task of its own.
    pub(crate) fn refreshes_for(&self) -> RunsFor {
        match self.foreground {
            true => RunsFor::Caller,
            false => RunsFor::Nobody,
        }
    }

    /// Returns when work in the background that begins now is cancelled: after `limit`, or when a load has lost its lease,
    /// so that its value is for nobody.
    pub(crate) fn deadline(&self, limit: Option<Duration>) -> Option<Instant> {
        let longest = self.leases.longest();
        Instant::now().checked_add(limit.map_or(longest, |limit| limit.min(longest)))
    }

    /// Runs `load` in a task of its own, for a caller that waits for it as long as it has what is returned.
    pub(crate) fn spawn_awaited(&self, span: LoadSpan, load: impl Future<Output = ()> + Send + 'static) -> Awaited {
        let (load, awaited) = task::awaited(span.into_span(), load);
        self.tasks.spawn(load);
        awaited
    }

    /// Runs `load` in a task of its own: for a caller, as [`spawn_awaited`](Self::spawn_awaited), or in the background.
    pub(crate) fn spawn_load(
        &self,
        span: LoadSpan,
        whom: RunsFor,
        load: impl Future<Output = ()> + Send + 'static,
    ) -> Option<Awaited> {
        match whom {
            RunsFor::Caller => Some(self.spawn_awaited(span, load)),
            RunsFor::Nobody => {
                self.spawn_in_background(span.into_span(), self.deadline(None), load);
                None
            }
        }
    }

    /// Runs `work`, for which nobody waits, until `deadline` at the latest. A shutdown gives it some more time, and then
    /// cancels it.
    pub(crate) fn spawn_in_background(
        &self,
        span: Span,
        deadline: Option<Instant>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let tasks = self.tasks.clone();
        // Boxed, since it would be in this future several times.
        let work = Box::pin(work);
        let work = async move {
            let late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let closed = async {
                tasks.closed().await;
                tokio::time::sleep(AT_SHUTDOWN).await;
            };
            tokio::select! {
                biased;
                () = work => {}
                () = late => {}
                () = closed => {}
            }
        };
        self.tasks.spawn(task::background(span, work));
    }
}
