//! An unreachable store: handlers continue to work, and the responses report the outage.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Faulty, app, bytes_only, get, idle, request, send};
use axum::Router;
use axum::routing::get as get_route;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::{ErrorKind, ManualClock};
use cache_axum::{CacheHandle, CacheLayer};
use http::{Method, StatusCode};

fn breakable() -> (Cache, Faulty) {
    let clock = ManualClock::new();
    let backend = bytes_only(&clock);
    let cache = Cache::builder(backend.clone())
        .clock(clock)
        .breaker(0, Duration::from_secs(1))
        .build();
    (cache, backend)
}

#[tokio::test]
async fn the_handler_answers_and_the_status_tells_of_the_outage() {
    let (cache, store) = breakable();
    let (app, calls) = app(CacheLayer::new(cache), |call, _| call.to_string());
    get(&app, "/").await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    store.fail(ErrorKind::Unavailable);
    for _ in 0..2 {
        let reply = get(&app, "/").await;
        assert_eq!((reply.status, reply.x_cache()), (StatusCode::OK, "MISS"));
        assert_eq!(reply.cache_status(), "cache; fwd=miss; detail=outage");
    }
    assert_eq!(calls.count(), 3);
    // A request that no other shares is looked up in another way, and says the same.
    let head = send(&app, request(Method::HEAD, "/", &[])).await;
    assert_eq!(head.cache_status(), "cache; fwd=miss; detail=head");
    let strict = send(&app, request(Method::GET, "/", &[("cache-control", "only-if-cached")])).await;
    assert_eq!(
        (strict.status, strict.cache_status()),
        (StatusCode::GATEWAY_TIMEOUT, "cache; detail=outage")
    );
    store.recover();
    assert_eq!(get(&app, "/").await.text(), "1");
    // The same once more, with a store that answers: nothing is stored, and that is known.
    let strict = send(
        &app,
        request(Method::GET, "/no", &[("cache-control", "only-if-cached")]),
    )
    .await;
    assert_eq!(strict.cache_status(), "cache; detail=only-if-cached");
    assert_eq!(get(&app, "/no").await.cache_status(), "cache; fwd=uri-miss; stored");
}

#[tokio::test]
async fn single_flight_goes_on() {
    let (cache, store) = breakable();
    store.fail(ErrorKind::Unavailable);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let calls = crate::support::Calls::default();
    let (inner, counter) = (Arc::clone(&gate), calls.clone());
    let handler = move || {
        let (gate, call) = (Arc::clone(&inner), counter.add());
        async move {
            let _permit = gate.acquire().await.unwrap();
            call.to_string()
        }
    };
    let app = Router::new().fallback(handler).layer(CacheLayer::new(cache.clone()));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let app = app.clone();
        asking.spawn(async move { get(&app, "/").await });
    }
    idle().await;
    gate.add_permits(20);
    let replies = asking.join_all().await;
    assert!(replies.iter().all(|reply| reply.text() == "1"));
    assert_eq!(calls.count(), 1);
    // Nothing is stored, so nobody is told for how long.
    for reply in replies {
        assert_eq!((reply.header("cache-control"), reply.header("age")), ("", ""));
        // Those who waited have met the outage too.
        assert!(
            reply.cache_status().starts_with("cache; fwd=miss"),
            "{}",
            reply.cache_status()
        );
        assert!(
            reply.cache_status().ends_with("detail=outage"),
            "{}",
            reply.cache_status()
        );
    }
    let total = cache.stats().total();
    assert_eq!((total.outages, total.misses, total.coalesced), (20, 0, 19));
    // The control: of what is stored, all are told.
    store.recover();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let app = app.clone();
        asking.spawn(async move { get(&app, "/").await });
    }
    for reply in asking.join_all().await {
        assert_ne!(reply.header("cache-control"), "");
    }
}

#[tokio::test]
async fn a_store_that_fails_between_look_up_and_fill_costs_nothing_but_the_fill() {
    let (cache, store) = breakable();
    let broken = store.clone();
    let (app, _) = app(CacheLayer::new(cache), move |call, _| {
        broken.fail(ErrorKind::Unavailable);
        call.to_string()
    });
    let reply = get(&app, "/").await;
    assert_eq!(
        (reply.status, reply.cache_status()),
        (StatusCode::OK, "cache; fwd=uri-miss; detail=store-failed")
    );
}

#[tokio::test]
async fn a_write_says_that_it_could_not_invalidate() {
    let (cache, store) = breakable();
    let write = |cache: CacheHandle| async move { cache.invalidate_url("/other").await.is_err().to_string() };
    let app = Router::new()
        .route("/", get_route(|| async { "…" }).put(write))
        .layer(CacheLayer::new(cache));
    store.fail(ErrorKind::Unavailable);
    let reply = send(&app, request(Method::PUT, "/", &[])).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "true"));
    assert_eq!(reply.cache_status(), "cache; fwd=method; detail=invalidation-failed");
    store.recover();
    let reply = send(&app, request(Method::PUT, "/", &[])).await;
    assert_eq!(reply.cache_status(), "cache; fwd=method");
}
