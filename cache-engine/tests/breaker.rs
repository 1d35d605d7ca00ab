//! The circuit breaker counts the failures that callers notice.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use cache_engine::Cache;
use cache_engine::cache_core::{
    Backend, EntryKind, Error, ErrorKind, Key, Record, SetOptions, SetOutcome, Value, async_trait,
};

use support::{Fate, Log, Remote, over};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

async fn load(cache: &Cache, key: &str) {
    cache
        .get_or_load(key, || async { Ok::<_, Infallible>(1_u32) })
        .await
        .unwrap();
}

/// Callers that give up before the time limit of the store open the breaker too.
#[tokio::test(start_paused = true)]
async fn calls_given_up_by_impatient_callers_count() {
    let (remote, log) = (Remote::new(), Log::default());
    let cache = over(&remote).observer(log.clone()).build();
    remote.always(Fate::Freeze);
    for _ in 0..3 {
        let impatient = tokio::time::timeout(100 * MS, cache.get::<u32>("key"));
        impatient.await.unwrap_err();
    }
    assert_eq!(log.count("breaker_opened"), 1);
}

/// The control: callers that leave at once say nothing of the store.
#[tokio::test(start_paused = true)]
async fn calls_given_up_at_once_do_not_count() {
    let (remote, log) = (Remote::new(), Log::default());
    let cache = over(&remote).observer(log.clone()).build();
    remote.always(Fate::Take(20 * MS, Duration::ZERO));
    for _ in 0..20 {
        let hasty = tokio::time::timeout(10 * MS, cache.get::<u32>("key"));
        hasty.await.unwrap_err();
    }
    assert_eq!(log.count("breaker_opened"), 0);
}

/// A store whose reads are always about to go on: they use up what a task may do at a time, again and again.
#[derive(Debug)]
struct Busy;

#[async_trait]
impl Backend for Busy {
    async fn get(&self, _: &Key) -> Result<Option<Record>, Error> {
        loop {
            tokio::task::consume_budget().await;
        }
    }

    async fn set(&self, _: &Key, _: Value, _: SetOptions) -> Result<SetOutcome, Error> {
        Ok(SetOutcome::Refused)
    }

    async fn delete(&self, _: &Key) -> Result<bool, Error> {
        Ok(false)
    }
}

/// The time limit holds even if a call leaves its task nothing to do at a time. A call that fails so counts once.
#[tokio::test]
async fn a_call_that_uses_up_its_task_ends_with_the_time_limit() {
    let log = Log::default();
    let cache = Cache::builder(Busy)
        .backend_timeout(50 * MS)
        .observer(log.clone())
        .build();
    for failures in 1..=3 {
        assert_eq!(log.count("breaker_opened"), 0);
        let error = cache.get::<u32>("key").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "failure {failures}");
    }
    assert_eq!(log.count("breaker_opened"), 1);
}

/// Wrong credentials, a missing table and a proxy that refuses commands cost no call of the store for each request.
#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_tried_once_a_pause() {
    for kind in [
        ErrorKind::Auth,
        ErrorKind::Configuration,
        ErrorKind::Rejected,
        ErrorKind::Other,
    ] {
        let (remote, log) = (Remote::new(), Log::default());
        let cache = over(&remote).observer(log.clone()).build();
        remote.always(Fate::Fail(kind));
        for _ in 0..50 {
            load(&cache, "key").await;
        }
        assert!(remote.take_calls().len() <= 4, "{kind}");
        assert!(log.count("store_failed") <= 4, "{kind}");
    }
}

/// A store that takes no writes is still read, and is asked to write once a pause.
#[tokio::test(start_paused = true)]
async fn a_full_store_is_read_and_seldom_written_to() {
    let (remote, log) = (Remote::new(), Log::default());
    let cache = over(&remote).observer(log.clone()).build();
    load(&cache, "there").await;
    remote.plan(|call| {
        if call.is("set") {
            Fate::Fail(ErrorKind::Rejected)
        } else {
            Fate::Pass
        }
    });
    remote.take_calls();
    for _ in 0..50 {
        load(&cache, "missing").await;
        assert!(cache.get::<u32>("there").await.unwrap().is_some());
    }
    let writes = remote.take_calls().iter().filter(|call| call.is("set")).count();
    assert!(writes <= 4, "{writes}");
    assert!(log.count("store_failed") <= 4);

    // There is room again.
    remote.always(Fate::Pass);
    tokio::time::advance(SEC).await;
    load(&cache, "missing").await;
    let stored = remote.take_calls();
    assert!(stored.iter().any(|call| call.writes(EntryKind::Value)));
}

/// A client with too many calls under way says nothing of the store: neither that it is down, nor that it answers again.
#[tokio::test(start_paused = true)]
async fn a_busy_client_neither_opens_nor_closes_the_breaker() {
    let (remote, log) = (Remote::new(), Log::default());
    let cache = over(&remote).observer(log.clone()).breaker(3, SEC).build();
    remote.always(Fate::Busy);
    for _ in 0..40 {
        cache.get::<u32>("key").await.unwrap_err();
        cache.get_many::<u32, _>(["key", "other"]).await.unwrap_err();
    }
    assert_eq!(log.count("breaker_opened"), 0);

    let mut number = 0;
    remote.plan(move |_| {
        number += 1;
        match number % 2 {
            0 => Fate::Busy,
            _ => Fate::Fail(ErrorKind::Unavailable),
        }
    });
    for _ in 0..5 {
        assert_eq!(log.count("breaker_opened"), 0);
        cache.get::<u32>("key").await.unwrap_err();
    }
    assert_eq!(log.count("breaker_opened"), 1, "three failures in a row");
    remote.always(Fate::Busy);
    tokio::time::advance(2 * SEC).await;
    cache.get::<u32>("key").await.unwrap_err();
    assert_eq!(log.count("breaker_closed"), 0);
    remote.always(Fate::Pass);
    assert_eq!(cache.get::<u32>("key").await.unwrap(), None);
    assert_eq!(log.count("breaker_closed"), 1);
}
