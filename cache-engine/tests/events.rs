//! The events that a cache reports.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cache_core::{ErrorKind, SetOptions};
use cache_engine::{Cache, Event, LoadError, LoadFailure};
use support::{Count, Fate, Gate, Log, Remote, SEC, TokioClock, idle, memory, memory_builder, over};

#[tokio::test(start_paused = true)]
async fn each_thing_that_happens_is_told() {
    let (remote, log) = (Remote::new(), Log::new());
    let cache = over(&remote)
        .observer(log.clone())
        .ttl(SEC)
        .stale_while_revalidate(SEC)
        .stale_if_error(10 * SEC)
        .negative_ttl(SEC)
        .lease_time(3 * SEC)
        .build();
    let load = || Count::new().loading(1);

    cache.get_or_load("key", load()).await.unwrap();
    assert_eq!(log.take(), ["miss", "load_started", "loaded", "stored"]);
    cache.get_or_load("key", load()).await.unwrap();
    cache.get::<i32>("key").await.unwrap();
    assert_eq!(log.take(), ["hit", "hit"]);
    cache.get::<i32>("none").await.unwrap();
    assert_eq!(log.take(), ["miss"]);
    cache.get_many::<i32, _>(["key", "none"]).await.unwrap();
    assert_eq!(log.take(), ["hit", "miss"]);
    cache.set("key", 1).await.unwrap();
    cache.invalidate("key").await.unwrap();
    cache.delete("key").await.unwrap();
    cache.clear("").await.unwrap();
    assert_eq!(log.take(), ["stored", "invalidated", "invalidated", "cleared"]);

    cache
        .get_or_load_optional("nobody", || async { Ok::<Option<i32>, Infallible>(None) })
        .await
        .unwrap();
    cache
        .get_or_load_optional("nobody", || async { Ok::<Option<i32>, Infallible>(None) })
        .await
        .unwrap();
    assert_eq!(log.take(), ["miss", "load_started", "loaded", "stored", "negative_hit"]);

    cache.set("stale", 1).await.unwrap();
    tokio::time::advance(SEC).await;
    log.take();
    cache.get_or_load("stale", load()).await.unwrap();
    idle().await;
    assert_eq!(log.take(), ["stale", "load_started", "loaded", "stored"]);
    tokio::time::advance(5 * SEC).await;
    cache
        .get_or_load("stale", || async { Err::<i32, _>("failed") })
        .await
        .unwrap();
    assert_eq!(log.take(), ["miss", "load_started", "load_failed", "stale_if_error"]);

    // Two callers, and an invalidation in between.
    let gate = Gate::closed();
    let call = || {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move {
            let load = || async move {
                gate.pass().await;
                Ok::<_, Infallible>(1)
            };
            cache.get_or_load("raced", load).await.unwrap();
        })
    };
    let callers = [call(), call()];
    gate.reached().await;
    idle().await;
    assert_eq!(log.take(), ["miss", "miss", "coalesced", "load_started"]);
    cache.invalidate("raced").await.unwrap();
    tokio::time::sleep(SEC).await;
    idle().await;
    assert_eq!(
        log.take(),
        ["invalidated", "lease_lost", "load_started"],
        "who waits does so no longer"
    );
    gate.open();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(log.take(), ["loaded", "fenced", "loaded", "stored"]);

    remote
        .plant(&cache.key("broken"), Bytes::from_static(b"?"), SetOptions::new(SEC))
        .await;
    cache.get::<i32>("broken").await.unwrap();
    assert_eq!(log.take(), ["decode_failed", "miss"]);

    remote.always(Fate::Fail(ErrorKind::Unavailable));
    for _ in 0..4 {
        cache.get_or_load("key", load()).await.unwrap();
    }
    let asked = ["store_failed", "outage", "load_started", "loaded"];
    let opens = ["breaker_opened", "store_failed", "outage", "load_started", "loaded"];
    let left_alone = ["outage", "load_started", "loaded"];
    assert_eq!(log.take(), [&asked[..], &asked, &opens, &left_alone].concat());
    remote.always(Fate::Pass);
    tokio::time::advance(SEC).await;
    cache.get::<i32>("key").await.unwrap();
    assert_eq!(log.take(), ["breaker_closed", "miss"]);
}

#[tokio::test(start_paused = true)]
async fn how_a_load_failed_and_how_long_it_took() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let cache = over(&Remote::new())
        .load_timeout(5 * SEC)
        .observer(move |event: &Event<'_>| match event {
            Event::LoadFailed { key, took, failure, .. } => {
                assert_eq!(event.key(), Some(*key));
                noted
                    .lock()
                    .unwrap()
                    .push((key.name().to_owned(), *took, Some(*failure)));
            }
            Event::Loaded { key, took, .. } => noted.lock().unwrap().push((key.name().to_owned(), *took, None)),
            _ => {}
        })
        .build();
    let load = |end: fn() -> Result<i32, &'static str>| {
        move || async move {
            tokio::time::sleep(2 * SEC).await;
            end()
        }
    };
    cache.get_or_load("value", load(|| Ok(1))).await.unwrap();
    cache.get_or_load("error", load(|| Err("failed"))).await.unwrap_err();
    cache
        .get_or_load("panic", load(|| panic!("as planned")))
        .await
        .unwrap_err();
    cache
        .get_or_load("late", std::future::pending::<Result<i32, &str>>)
        .await
        .unwrap_err();
    let expected = [
        ("value", 2 * SEC, None),
        ("error", 2 * SEC, Some(LoadFailure::Error)),
        ("panic", 2 * SEC, Some(LoadFailure::Panic)),
        ("late", 5 * SEC, Some(LoadFailure::Timeout)),
    ];
    let expected = expected.map(|(key, took, failure)| (key.to_owned(), took, failure));
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_eviction_is_told_to_the_caches_whose_entry_it_was() {
    let store: Arc<dyn cache_core::Backend> = Arc::new(memory_builder(TokioClock::new()).max_entries(10).build());
    let (mine, others) = (Log::new(), Log::new());
    let cache = Cache::builder_shared(Arc::clone(&store))
        .prefix("mine")
        .observer(mine.clone())
        .build();
    let _other = Cache::builder_shared(store)
        .prefix("other")
        .observer(others.clone())
        .build();
    for number in 0..100 {
        cache.set(number.to_string(), number).await.unwrap();
    }
    assert_eq!((mine.count("stored"), mine.count("evicted")), (100, 90));
    assert_eq!(others.take(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn all_observers_are_told() {
    let (one, two) = (Log::new(), Log::new());
    let cache = Cache::builder(memory(TokioClock::new()))
        .observer(one.clone())
        .observer(two.clone())
        .build();
    cache.get::<i32>("key").await.unwrap();
    assert_eq!((one.take(), two.take()), (vec!["miss"], vec!["miss"]));
}

/// An observer with a bug. It panics at the beginning of a load, and again at its end, which that panic would bring about.
#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_fails_no_request() {
    fn panics(_: &Event<'_>) {
        panic!("an observer with a bug");
    }
    let log = Log::new();
    let remote = over(&Remote::new()).observer(panics).observer(log.clone()).build();
    let memory = Cache::builder(memory(TokioClock::new())).observer(panics).build();
    for cache in [&remote, &memory] {
        for _ in 0..2 {
            assert_eq!(*cache.get_or_load("key", Count::new().loading(1)).await.unwrap(), 1);
        }
        let borrowing = cache.borrowing();
        assert_eq!(
            *borrowing.get_or_load("other", Count::new().loading(2)).await.unwrap(),
            2
        );
        let failed = cache.get_or_load("failed", || async { Err::<i32, _>("down") }).await;
        assert!(matches!(failed, Err(LoadError::Failed(_))), "{failed:?}");
        cache.invalidate("key").await.unwrap();
        assert_eq!(cache.get::<i32>("key").await.unwrap(), None);
    }
    assert_eq!(
        (log.count("hit"), log.count("loaded"), log.count("load_failed")),
        (1, 2, 1),
        "told as ever"
    );
}
