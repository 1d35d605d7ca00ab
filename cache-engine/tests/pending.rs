//! Pending invalidations, which the store did not carry out: they apply in this process, and are carried out before the
//! store is trusted again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use cache_engine::Cache;
use cache_engine::cache_core::ErrorKind;

use support::{Fate, Log, Remote, over};

const SEC: Duration = Duration::from_secs(1);

async fn load(cache: &Cache, value: u32) -> u32 {
    *cache
        .get_or_load("key", move || async move { Ok::<_, Infallible>(value) })
        .await
        .unwrap()
}

/// What is invalidated while the store is away.
#[derive(Debug, Clone, Copy)]
enum What {
    Key,
    Tag,
    Namespace,
    Everything,
}

async fn invalidate(cache: &Cache, what: What) -> Result<(), cache_engine::cache_core::Error> {
    match what {
        What::Key => cache.invalidate("key").await,
        What::Tag => cache.invalidate_tag("tag").await,
        What::Namespace => cache.clear("").await.map(drop),
        What::Everything => cache.clear_all().await.map(drop),
    }
}

/// Only the invalidation fails: all else that the store is asked for goes through.
async fn the_old_value_is_gone_here_at_once_and_elsewhere_soon(what: What) {
    let remote = Remote::new();
    let log = Log::default();
    let here = over(&remote).observer(log.clone()).build().with_tags(["tag"]);
    let there = over(&remote).build().with_tags(["tag"]);
    assert_eq!(load(&here, 1).await, 1);
    assert_eq!(load(&there, 2).await, 1, "shared");

    remote.always(Fate::Fail(ErrorKind::Unavailable));
    let error = invalidate(&here, what).await.unwrap_err();
    assert!(error.to_string().contains("pending"), "{error}");
    assert!(here.pending_invalidations() > 0, "{what:?}");
    assert_eq!(log.count("invalidation_pending"), 1);

    // The store is back, and the first read of this process finds the old value no more.
    remote.always(Fate::Pass);
    tokio::time::advance(2 * SEC).await;
    assert_eq!(load(&here, 3).await, 3, "{what:?}");
    assert_eq!(here.pending_invalidations(), 0, "{what:?}");
    assert_eq!(load(&there, 4).await, 3, "{what:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key() {
    the_old_value_is_gone_here_at_once_and_elsewhere_soon(What::Key).await;
}

#[tokio::test(start_paused = true)]
async fn a_tag() {
    the_old_value_is_gone_here_at_once_and_elsewhere_soon(What::Tag).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace() {
    the_old_value_is_gone_here_at_once_and_elsewhere_soon(What::Namespace).await;
}

#[tokio::test(start_paused = true)]
async fn everything() {
    the_old_value_is_gone_here_at_once_and_elsewhere_soon(What::Everything).await;
}

/// While it cannot be carried out, although the store answers reads, the value counts as invalid.
#[tokio::test(start_paused = true)]
async fn what_is_pending_counts_as_invalid() {
    let remote = Remote::new();
    let here = over(&remote).breaker(0, SEC).build();
    assert_eq!(load(&here, 1).await, 1);
    remote.plan(|call| {
        if call.is("delete") {
            Fate::Fail(ErrorKind::Unavailable)
        } else {
            Fate::Pass
        }
    });
    here.invalidate("key").await.unwrap_err();
    assert_eq!(here.get::<u32>("key").await.unwrap(), None);
    assert_eq!(here.pending_invalidations(), 1);
    here.invalidate("key").await.unwrap_err();
    assert_eq!(here.pending_invalidations(), 1, "the same");
}

/// Without a read, too, other processes stop finding the old value.
#[tokio::test(start_paused = true)]
async fn it_is_carried_out_in_the_background() {
    let remote = Remote::new();
    let log = Log::default();
    let here = over(&remote).observer(log.clone()).build();
    let there = over(&remote).build();
    assert_eq!(load(&here, 1).await, 1);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    here.invalidate("key").await.unwrap_err();
    remote.always(Fate::Pass);
    tokio::time::sleep(2 * SEC).await;
    assert_eq!(there.get::<u32>("key").await.unwrap(), None);
    assert_eq!(log.count("invalidations_recovered"), 1);
}

/// A full store takes no writes, but removes.
#[tokio::test(start_paused = true)]
async fn a_full_store_can_be_invalidated() {
    for soft in [false, true] {
        let remote = Remote::new();
        let here = over(&remote).stale_if_error(SEC).build().with_tags(["tag", "other"]);
        assert_eq!(load(&here, 1).await, 1);
        remote.plan(|call| {
            if call.is("set") || call.is("set_many") {
                Fate::Fail(ErrorKind::Rejected)
            } else {
                Fate::Pass
            }
        });
        if soft {
            here.soft().invalidate_tags(["tag", "other"]).await.unwrap();
        } else {
            here.invalidate_tags(["tag", "other"]).await.unwrap();
        }
        assert_eq!(here.get::<u32>("key").await.unwrap(), None, "soft: {soft}");
        assert_eq!(here.pending_invalidations(), 0);

        remote.always(Fate::Pass);
        assert_eq!(load(&here, 2).await, 2);
        remote.plan(|call| {
            if call.is("set") {
                Fate::Fail(ErrorKind::Rejected)
            } else {
                Fate::Pass
            }
        });
        if soft {
            here.soft().invalidate("key").await.unwrap();
        } else {
            here.invalidate("key").await.unwrap();
        }
        assert_eq!(here.get::<u32>("key").await.unwrap(), None, "soft: {soft}");
    }
}
