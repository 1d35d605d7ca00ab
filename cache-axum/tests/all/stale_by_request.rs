//! A request may accept a stale response (RFC 9111, sections 5.2.1.2 and 5.2.1.7), and gets one only then.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Calls, Reply, app, cache, get, request, send};
use axum::Router;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::cache_core::ManualClock;
use http::{Method, StatusCode};

/// A copy that is stale for five seconds.
async fn stale(cache_control: &'static str) -> (Router, Calls, ManualClock) {
    let (cache, clock) = cache();
    let (app, calls) = app(CacheLayer::shared(cache), move |call, _| {
        ([("cache-control", cache_control)], format!("call {call}"))
    });
    get(&app, "/").await;
    clock.advance(Duration::from_secs(15));
    (app, calls, clock)
}

async fn ask(app: &Router, method: Method, directives: &str) -> Reply {
    send(app, request(method, "/", &[("cache-control", directives)])).await
}

#[tokio::test]
async fn max_stale_takes_a_copy_that_is_not_too_stale() {
    for (directives, expected) in [
        ("max-stale", "call 1"),
        ("max-stale=5", "call 1"),
        ("max-stale=4", "call 2"),
        ("max-stale, min-fresh=1", "call 2"),
        ("max-stale, no-cache", "call 2"),
        ("max-stale, max-age=14", "call 2"),
        ("max-stale, max-age=15", "call 1"),
        ("nothing", "call 2"),
    ] {
        let (app, _, _) = stale("max-age=10").await;
        assert_eq!(
            ask(&app, Method::GET, directives).await.text(),
            expected,
            "{directives}"
        );
    }
}

#[tokio::test]
async fn it_says_that_it_is_stale_and_keeps_nobody_from_loading() {
    let (app, calls, _) = stale("max-age=10").await;
    let reply = ask(&app, Method::GET, "max-stale").await;
    assert_eq!((reply.x_cache(), reply.cache_status()), ("STALE", "cache; hit; ttl=-5"));
    assert_eq!(reply.header("age"), "15");
    assert_eq!(get(&app, "/").await.text(), "call 2");
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn what_must_be_revalidated_is_not_taken_stale() {
    for directives in [
        "max-age=10, must-revalidate",
        "s-maxage=10",
        "max-age=10, proxy-revalidate",
    ] {
        let (app, calls, _) = stale(directives).await;
        ask(&app, Method::GET, "max-stale").await;
        assert_eq!(calls.count(), 2, "{directives}");
    }
}

#[tokio::test]
async fn only_if_cached_takes_what_max_stale_or_the_response_allows_and_never_loads() {
    for (stored, directives, expected) in [
        ("max-age=10", "only-if-cached", StatusCode::GATEWAY_TIMEOUT),
        ("max-age=10", "only-if-cached, max-stale", StatusCode::OK),
        (
            "max-age=10, stale-while-revalidate=60",
            "only-if-cached",
            StatusCode::OK,
        ),
        (
            "max-age=10, stale-while-revalidate=4",
            "only-if-cached",
            StatusCode::GATEWAY_TIMEOUT,
        ),
    ] {
        let (app, calls, _) = stale(stored).await;
        let reply = ask(&app, Method::GET, directives).await;
        assert_eq!(reply.status, expected, "{stored} / {directives}");
        assert_eq!(calls.count(), 1);
    }
}

#[tokio::test]
async fn head_takes_it_too() {
    let (app, calls, _) = stale("max-age=10").await;
    assert_eq!(ask(&app, Method::HEAD, "max-stale").await.x_cache(), "STALE");
    assert_eq!(calls.count(), 1);
}
