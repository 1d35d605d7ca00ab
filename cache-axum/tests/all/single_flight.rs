//! Concurrent first requests run the handler once, and requests that cannot share an answer never wait for each other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{cache, gated, get, get_with, idle, layer};
use axum::response::{IntoResponse, Response};
use cache_axum::{CacheLayer, DoNotStore};
use http::StatusCode;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_hundred_first_requests_run_the_handler_once() {
    let gated = gated(layer(), |call| call.to_string().into_response());
    let asking = gated.ask(100);
    idle().await;
    assert_eq!(gated.calls.count(), 1);
    gated.gate.add_permits(1);
    let replies = asking.join_all().await;
    assert!(replies.iter().all(|reply| reply.text() == "1"));
    let statuses = |text: &str| replies.iter().filter(|reply| reply.cache_status() == text).count();
    assert_eq!(statuses("cache; fwd=uri-miss; stored"), 1);
    assert_eq!(statuses("cache; fwd=uri-miss; collapsed"), 99);
    assert_eq!(gated.calls.count(), 1);
}

#[tokio::test]
async fn the_first_caller_may_leave() {
    let gated = gated(layer(), |call| call.to_string().into_response());
    let mut first = gated.ask(1);
    idle().await;
    let others = gated.ask(9);
    idle().await;
    first.abort_all();
    idle().await;
    gated.gate.add_permits(1);
    for reply in others.join_all().await {
        assert_eq!(reply.text(), "1");
    }
    assert_eq!(gated.calls.count(), 1);
}

/// Asks a few times at once, with the first answer held back until it is known that all others have come through.
async fn never_serialises(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) {
    let gated = gated(layer(), move |_| answer());
    // The first of all may be waited for: nobody knows yet.
    let asking = gated.ask(10);
    idle().await;
    assert_eq!(gated.calls.count(), 1);
    // As soon as the first answer is there, everybody runs at once.
    gated.gate.add_permits(1);
    idle().await;
    assert_eq!(gated.calls.count(), 10, "all run side by side");
    gated.gate.add_permits(9);
    asking.join_all().await;
}

#[tokio::test]
async fn those_who_waited_in_vain_run_side_by_side() {
    never_serialises(|| DoNotStoreAnswer.into_response()).await;
    never_serialises(|| ([("set-cookie", "a=1")], "…").into_response()).await;
    never_serialises(|| ([("cache-control", "private")], "…").into_response()).await;
}

struct DoNotStoreAnswer;

impl IntoResponse for DoNotStoreAnswer {
    fn into_response(self) -> Response {
        (DoNotStore, "…").into_response()
    }
}

#[tokio::test]
async fn an_uncacheable_url_is_remembered() {
    let gated = gated(layer(), |_| ([("cache-control", "no-store")], "…").into_response());
    gated.gate.add_permits(1);
    get(&gated.app, "/").await;
    // Now nobody waits for anybody, from the first on.
    let asking = gated.ask(10);
    idle().await;
    assert_eq!(gated.calls.count(), 11);
    gated.gate.add_permits(10);
    asking.join_all().await;
}

#[tokio::test]
async fn a_status_that_is_not_stored_is_remembered_unless_it_may_pass() {
    for (status, calls) in [
        (StatusCode::PERMANENT_REDIRECT, 11),
        (StatusCode::NOT_FOUND, 11),
        (StatusCode::INTERNAL_SERVER_ERROR, 2),
        (StatusCode::TOO_MANY_REQUESTS, 2),
    ] {
        let gated = gated(layer(), move |call| match call {
            1 => status.into_response(),
            _ => "…".into_response(),
        });
        gated.gate.add_permits(1);
        get(&gated.app, "/").await;
        let asking = gated.ask(10);
        idle().await;
        assert_eq!(gated.calls.count(), calls, "{status}");
        gated.gate.add_permits(calls - 1);
        asking.join_all().await;
    }
}

#[tokio::test]
async fn the_answer_to_a_condition_says_nothing_of_the_next_one() {
    for status in [
        StatusCode::NOT_MODIFIED,
        StatusCode::PRECONDITION_FAILED,
        StatusCode::RANGE_NOT_SATISFIABLE,
    ] {
        let (cache, clock) = cache();
        let gated = gated(
            CacheLayer::new(cache).ttl(Duration::from_secs(60)),
            move |call| match call {
                1 => StatusCode::NOT_FOUND.into_response(),
                2 => status.into_response(),
                _ => "…".into_response(),
            },
        );
        gated.gate.add_permits(2);
        get(&gated.app, "/").await;
        clock.advance(Duration::from_secs(6));
        // Goes by itself, since the first one was refused.
        get(&gated.app, "/").await;
        clock.advance(Duration::from_secs(6));
        let asking = gated.ask(10);
        idle().await;
        assert_eq!(gated.calls.count(), 3, "{status}");
        gated.gate.add_permits(1);
        asking.join_all().await;
    }
}

#[tokio::test]
async fn a_url_that_became_cacheable_is_collapsed_again() {
    let gated = gated(layer(), |call| match call {
        1 => ([("cache-control", "no-store")], "…").into_response(),
        _ => call.to_string().into_response(),
    });
    gated.gate.add_permits(2);
    get(&gated.app, "/").await;
    // Runs alone, is found to be storable, and is not stored.
    assert_eq!(get(&gated.app, "/").await.text(), "2");
    let asking = gated.ask(10);
    idle().await;
    assert_eq!(gated.calls.count(), 3);
    gated.gate.add_permits(1);
    asking.join_all().await;
    assert_eq!(get(&gated.app, "/").await.text(), "3");
}

#[tokio::test]
async fn requests_with_credentials_wait_for_nobody() {
    let gated = gated(layer(), |call| call.to_string().into_response());
    let waiting = gated.ask(1);
    idle().await;
    let mut own = JoinSet::new();
    for _ in 0..5 {
        let app = gated.app.clone();
        own.spawn(async move { get_with(&app, "/", &[("cookie", "session=1")]).await });
    }
    idle().await;
    assert_eq!(gated.calls.count(), 6);
    gated.gate.add_permits(6);
    own.join_all().await;
    waiting.join_all().await;
}

#[tokio::test]
async fn different_urls_do_not_wait_for_each_other() {
    let gated = gated(layer(), |call| call.to_string().into_response());
    let mut asking = JoinSet::new();
    for id in 0..5 {
        let app = gated.app.clone();
        asking.spawn(async move { get(&app, &format!("/{id}")).await });
    }
    idle().await;
    assert_eq!(gated.calls.count(), 5);
    gated.gate.add_permits(5);
    asking.join_all().await;
}
