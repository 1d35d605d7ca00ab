//! A store that refuses everything, or every write, costs one log line per second, and not one store operation per
//! request.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache_core::ErrorKind;
use cache_engine::Cache;
use support::{Fate, MS, Remote, over};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// Counts lines of warnings and errors, as a log would have them.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicUsize>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

const SECONDS: usize = 10;
const REQUESTS: usize = 100 * SECONDS;

/// Makes a hundred requests a second, each for a key of its own, and returns how many lines of log and calls of the store
/// they led to.
async fn requests(cache: &Cache, remote: &Remote) -> (usize, usize) {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    remote.take_calls();
    for number in 0..REQUESTS {
        let value = cache
            .get_or_load(format!("key {number}"), || async { Ok::<_, String>(7) })
            .await;
        assert_eq!(*value.unwrap(), 7);
        tokio::time::advance(10 * MS).await;
    }
    (lines.0.load(Ordering::Relaxed), remote.take_calls().len())
}

/// Wrong credentials; a missing table; a proxy that does not know the command.
#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_everything() {
    for kind in [
        ErrorKind::Auth,
        ErrorKind::Configuration,
        ErrorKind::Rejected,
        ErrorKind::Other,
        ErrorKind::Unavailable,
    ] {
        let remote = Remote::new();
        let cache = over(&remote).build();
        remote.always(Fate::Fail(kind));
        let (lines, calls) = requests(&cache, &remote).await;
        // The opening of the breaker is one line more.
        assert!((1..=SECONDS + 2).contains(&lines), "{kind}: {lines} lines");
        assert!(calls <= 3 + SECONDS, "{kind}: {calls} calls");
    }
}

/// Out of memory, or read-only.
#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_writes() {
    for kind in [ErrorKind::Rejected, ErrorKind::Other] {
        let remote = Remote::new();
        let cache = over(&remote).build();
        remote.plan(move |call| if call.is("set") { Fate::Fail(kind) } else { Fate::Pass });
        let lines = Lines::default();
        let _guard = tracing::subscriber::set_default(lines.clone());
        for number in 0..REQUESTS {
            cache
                .get_or_load(format!("key {number}"), || async { Ok::<_, String>(7) })
                .await
                .unwrap();
            tokio::time::advance(10 * MS).await;
        }
        let writes = remote.take_calls().iter().filter(|call| call.is("set")).count();
        let lines = lines.0.load(Ordering::Relaxed);
        assert!((1..=SECONDS + 1).contains(&lines), "{kind}: {lines} lines");
        assert!(writes <= 3 + SECONDS, "{kind}: {writes} writes");
    }
}

/// A failure that no breaker counts, since the store is well: each value is too large.
#[tokio::test(start_paused = true)]
async fn values_that_are_too_large() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    remote.plan(|call| {
        if call.is("set") {
            Fate::Fail(ErrorKind::TooLarge)
        } else {
            Fate::Pass
        }
    });
    let (lines, calls) = requests(&cache, &remote).await;
    assert!((1..=SECONDS + 1).contains(&lines), "{lines} lines");
    assert!(calls >= REQUESTS, "the store is used: {calls} calls");
}

/// A failed invalidation is an error of its own, and a line of log for each would fill the disk of a service that writes
/// much.
#[tokio::test(start_paused = true)]
async fn invalidations_that_fail() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    for number in 0..REQUESTS {
        cache.invalidate(format!("key {number}")).await.unwrap_err();
        tokio::time::advance(10 * MS).await;
    }
    let lines = lines.0.load(Ordering::Relaxed);
    // The failed calls, and the pending invalidations.
    assert!((1..=2 * (SECONDS + 1)).contains(&lines), "{lines} lines");
}
