//! Invalidation by what a database reports of its changes.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, ErrorKind, jittered};
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};

use crate::cache::handle::Cache;
use crate::cache::invalidation_set::Invalidation;
use crate::event::{Event, Events};
use crate::log::log_error;
use crate::panics::panic_message;
use crate::stats::feeds::FollowedFeed;

/// The pause before the second attempt to connect. It doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The time limit for connecting and for a check.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a feed is silent before its connection is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The number of changes that are carried out together.
const BATCH: usize = 256;

/// A feed of changes, such as `LISTEN` of Postgres, a replication stream, or a topic of a message broker.
///
/// [`Cache::follow`] drives it. A feed has one connection at a time.
///
/// ```
/// use std::convert::Infallible;
/// use cache_engine::{Cache, ChangeFeed, Invalidation};
/// use tokio::sync::broadcast;
///
/// /// Reports the numbers of the items that this process changes.
/// struct Items {
///     cache: Cache,
///     changes: broadcast::Sender<u64>,
///     connection: Option<broadcast::Receiver<u64>>,
/// }
///
/// impl ChangeFeed for Items {
///     type Error = broadcast::error::RecvError;
///
///     async fn connect(&mut self) -> Result<(), Self::Error> {
///         self.connection = Some(self.changes.subscribe());
///         Ok(())
///     }
///
///     async fn next(&mut self) -> Result<Option<Invalidation>, Self::Error> {
///         let Some(connection) = &mut self.connection else { return Ok(None) };
///         // An error says that changes were missed.
///         let id = connection.recv().await?;
///         Ok(Some(self.cache.invalidation().add_tag(format!("item:{id}"))))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let cache = Cache::builder(cache_memory::MemoryBackend::default()).build();
/// let feed = Items { cache: cache.clone(), changes: broadcast::Sender::new(64), connection: None };
/// tokio::spawn(cache.follow(feed, cache.invalidation().add_namespace("items")).run());
/// # }
/// ```
pub trait ChangeFeed: Send {
    /// The error of a connection.
    type Error: fmt::Display + Send;

    /// Connects, and replaces the connection that there was. Every change that is committed after this has returned must
    /// be reported by [`next`](Self::next), or end the connection.
    ///
    /// # Errors
    /// There is no connection. It is tried again after a pause.
    fn connect(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Waits for the next change, and returns what it invalidates. `None` says that the connection has ended.
    ///
    /// A change must be reported after its transaction is committed, and not before. The future is often dropped before
    /// it is ready; no change may be lost by that.
    ///
    /// # Errors
    /// The connection is lost, or a change cannot be read. Both end the connection, and a new one is made.
    fn next(&mut self) -> impl Future<Output = Result<Option<Invalidation>, Self::Error>> + Send;

    /// Checks a connection that has been silent, for example by `SELECT 1`. Without a check, a connection that hangs is
    /// not noticed. The provided method does nothing.
    ///
    /// # Errors
    /// The connection is lost.
    fn check(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }
}

/// A [`ChangeFeed`] that invalidates entries of a cache; see [`Cache::follow`].
#[derive(Debug)]
#[must_use = "nothing is followed until it runs"]
pub struct Follow<F> {
    feed: F,
    missed: Invalidation,
    check_interval: Duration,
}

impl<C> Cache<C> {
    /// Invalidates what `feed` reports as changed, whoever changed it. `missed` names all that the feed can report: it is
    /// invalidated whenever a connection has been made, the first one included, since changes may have been missed
    /// before.
    ///
    /// Use it for databases that others write too, and for writes whose process may be killed before it invalidates.
    /// The invalidations come a moment after the commit, so a caller that must read its own write also needs
    /// [`Cache::deferred`].
    pub fn follow<F: ChangeFeed>(&self, feed: F, missed: Invalidation) -> Follow<F> {
        Follow {
            feed,
            missed: self.invalidation().and(missed),
            check_interval: CHECK_INTERVAL,
        }
    }
}

impl<F: ChangeFeed> Follow<F> {
    /// Sets after which silence the connection is [checked](ChangeFeed::check). Default: 5 s; at least 10 ms. A check
    /// has ten seconds to succeed, so a connection that hangs is replaced after at most 15 s by default.
    pub fn with_check_interval(mut self, interval: Duration) -> Self {
        self.check_interval = interval.max(Duration::from_millis(10));
        self
    }

    /// Follows the feed until [`Cache::shutdown`]. Spawn it as a task of its own; dropping the future ends it.
    ///
    /// A connection that is lost is made again, after pauses from 0.1 s to 30 s. Until then changes go unnoticed:
    /// [`FeedLost`](Event::FeedLost), [`FeedConnected`](Event::FeedConnected) and
    /// [`CacheStats::lost_feeds`](crate::CacheStats::lost_feeds) tell of it. Changes whose invalidation the store does not
    /// carry out are [pending](Cache::pending_invalidations), like all others. A panic of the feed ends the connection.
    pub async fn run(mut self) {
        let tasks = self.missed.tasks().clone();
        let events = self.missed.events().clone();
        let followed = FollowedFeed::new(&events.stats().feeds);
        tokio::select! {
            biased;
            () = tasks.closed() => {}
            () = self.follow(&events, followed) => {}
        }
    }

    async fn follow(&mut self, events: &Events, mut followed: FollowedFeed) {
        let mut pause = FIRST_PAUSE;
        loop {
            let end = AssertUnwindSafe(self.follow_connection(&mut pause, events, &mut followed))
                .catch_unwind()
                .await;
            let end = end.unwrap_or_else(|panic| End::Panicked(panic_message(&*panic)));
            if followed.lost() {
                let error = Error::new(ErrorKind::Unavailable, end.to_string()).with_operation("follow");
                events.emit(&Event::FeedLost { error: &error });
            } else {
                tracing::warn!(
                    target: "cache",
                    reason = %end,
                    pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "a change feed is still lost: connecting has failed again"
                );
            }
            // At different times in different processes.
            sleep(jittered(pause, 0.5)).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Connects, and carries out changes until the connection ends. Returns why it did.
    async fn follow_connection(
        &mut self,
        pause: &mut Duration,
        events: &Events,
        followed: &mut FollowedFeed,
    ) -> End<F::Error> {
        match timeout(CALL_TIMEOUT, self.feed.connect()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return End::Failed(error),
            Err(_) => return End::Silent,
        }
        // Only now, so that each change is either before this or reported.
        carry_out(self.missed.clone()).await;
        if followed.connected() {
            events.emit(&Event::FeedConnected);
        }
        loop {
            match timeout(self.check_interval, self.feed.next()).await {
                Ok(Ok(Some(changes))) => {
                    *pause = FIRST_PAUSE;
                    let (changes, end) = self.more(changes);
                    carry_out(changes).await;
                    if let Some(end) = end {
                        return end;
                    }
                }
                Ok(Ok(None)) => return End::Closed,
                Ok(Err(error)) => return End::Failed(error),
                Err(_) => match timeout(CALL_TIMEOUT, self.feed.check()).await {
                    Ok(Ok(())) => *pause = FIRST_PAUSE,
                    Ok(Err(error)) => return End::Failed(error),
                    Err(_) => return End::Silent,
                },
            }
        }
    }

    /// Adds the changes that need not be waited for.
    fn more(&mut self, mut changes: Invalidation) -> (Invalidation, Option<End<F::Error>>) {
        for _ in 1..BATCH {
            match self.feed.next().now_or_never() {
                None => break,
                Some(Ok(Some(more))) => changes = changes.and(more),
                Some(Ok(None)) => return (changes, Some(End::Closed)),
                Some(Err(error)) => return (changes, Some(End::Failed(error))),
            }
        }
        (changes, None)
    }
}

async fn carry_out(changes: Invalidation) {
    if let Err(error) = changes.run().await {
        log_error(
            "an invalidation by a change feed failed: outdated values may be found",
            Some(&error),
        );
    }
}

/// Why a connection has ended.
enum End<E> {
    Closed,
    Silent,
    Failed(E),
    Panicked(Arc<str>),
}

impl<E: fmt::Display> fmt::Display for End<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection has ended"),
            Self::Silent => f.write_str("no answer in time"),
            Self::Failed(error) => error.fmt(f),
            Self::Panicked(message) => write!(f, "the feed panicked: {message}"),
        }
    }
}
