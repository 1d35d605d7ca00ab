//! A coder that checks that values decode to what was encoded.

#![cfg(feature = "macros")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use cache_engine::cache_core::{Checked, Coder, ErrorKind, Json};
use cache_engine::{Cache, Event, cached};
use serde::{Deserialize, Serialize};
use support::{Count, Log, Remote, TokioClock, memory, over};

/// A value with a field that serde leaves out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    #[serde(skip)]
    role: Option<String>,
}

fn user(role: Option<&str>) -> User {
    User {
        name: "ada".to_owned(),
        role: role.map(str::to_owned),
    }
}

fn both<C: Coder<User> + Clone>(coder: C, log: &Log) -> [Cache<C>; 2] {
    let clock = TokioClock::new();
    [
        Cache::builder(memory(clock))
            .clock(clock)
            .observer(log.clone())
            .coder(coder.clone())
            .build(),
        over(&Remote::new()).observer(log.clone()).coder(coder).build(),
    ]
}

async fn load<C: Coder<User>>(cache: &Cache<C>, loads: &Count, role: Option<&'static str>) -> Arc<User> {
    let loads = loads.clone();
    let load = move || async move {
        loads.up();
        Ok::<_, Infallible>(user(role))
    };
    cache.get_or_load("key", load).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_value_that_would_come_back_as_another_is_not_stored() {
    let log = Log::new();
    for cache in both(Checked(Json), &log) {
        let loads = Count::new();
        for count in 1..3 {
            assert_eq!(load(&cache, &loads, Some("admin")).await.role.as_deref(), Some("admin"));
            assert_eq!(loads.get(), count);
            assert_eq!(log.count("not_round_trip"), 1);
            assert_eq!(log.count("stored"), 0);
            log.take();
        }
        let error = cache.set("key", user(Some("admin"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(error.to_string().contains("User"), "{error}");
        assert_eq!(log.take(), ["not_round_trip"]);
    }
}

#[tokio::test(start_paused = true)]
async fn all_others_are() {
    let log = Log::new();
    for cache in both(Checked(Json), &log) {
        let loads = Count::new();
        for _ in 0..2 {
            assert_eq!(*load(&cache, &loads, None).await, user(None));
        }
        assert_eq!(loads.get(), 1);
    }
    assert_eq!(log.count("not_round_trip"), 0);
    assert_eq!(log.count("stored"), 2);
}

/// The negative control.
#[tokio::test(start_paused = true)]
async fn without_the_check_the_value_changes() {
    let log = Log::new();
    let [_, cache] = both(Json, &log);
    let loads = Count::new();
    assert_eq!(load(&cache, &loads, Some("admin")).await.role.as_deref(), Some("admin"));
    assert_eq!(load(&cache, &loads, Some("admin")).await.role, None);
    assert_eq!((loads.get(), log.count("not_round_trip")), (1, 0));
}

#[cached(cache = cache, skip(cache, loads), coder = Checked(Json))]
async fn ada(cache: &Cache, loads: &Count) -> User {
    loads.up();
    user(Some("admin"))
}

#[tokio::test(start_paused = true)]
async fn a_function_can_have_its_own_check() {
    let keys = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&keys);
    let observe = move |event: &Event<'_>| {
        if let Event::NotRoundTrip { key, error, .. } = event {
            noted.lock().unwrap().push((key.as_str().to_owned(), error.to_string()));
        }
    };
    let cache = over(&Remote::new()).observer(observe).build();
    let loads = Count::new();
    for _ in 0..2 {
        assert_eq!(ada(&cache, &loads).await, user(Some("admin")));
    }
    assert_eq!(loads.get(), 2);
    assert_eq!(keys.lock().unwrap().len(), 2);
}

/// Records are those of the coder itself.
#[tokio::test(start_paused = true)]
async fn a_cache_without_the_check_reads_the_same_records() {
    let remote = Remote::new();
    over(&remote)
        .coder(Checked(Json))
        .build()
        .set("key", user(None))
        .await
        .unwrap();
    let read = over(&remote).build().get::<User>("key").await.unwrap();
    assert_eq!(*read.unwrap(), user(None));
}
