//! Stale responses: used while they are refreshed, and if the handler fails (RFC 5861).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{app, cache, get, get_with, idle};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use cache_axum::cache_http::Policy;
use cache_axum::{CacheLayer, StoreFor};
use http::{Request, StatusCode};
use tower::{Layer, ServiceExt};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_stale_copy_is_answered_and_refreshed_once() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let (app, calls) = app(layer, |call, _| call.to_string());
    get(&app, "/").await;
    clock.advance(MINUTE + Duration::from_secs(5));
    for _ in 0..3 {
        // Answered before the refresh has had a chance to run.
        let stale = get(&app, "/").await;
        assert_eq!((stale.text(), stale.x_cache()), ("1", "STALE"));
        assert_eq!(
            (stale.cache_status(), stale.header("age")),
            ("cache; hit; ttl=-5", "65")
        );
        assert_eq!(stale.header("cache-control"), "max-age=0");
    }
    idle().await;
    let fresh = get(&app, "/").await;
    assert_eq!((fresh.text(), fresh.x_cache(), calls.count()), ("2", "HIT", 2));
    clock.advance(MINUTE * 2);
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn the_refresh_is_a_whole_request_of_its_own() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let (app, _) = app(layer, |_, parts| {
        (
            [("vary", "accept")],
            format!("{} {} {:?}", parts.method, parts.uri, parts.headers),
        )
    });
    let first = get_with(&app, "/a?b", &[("accept", "x")]).await;
    clock.advance(MINUTE);
    let asked = [("accept", "x"), ("if-none-match", "\"other\""), ("range", "bytes=0-1")];
    assert_eq!(get_with(&app, "/a?b", &asked).await.x_cache(), "STALE");
    idle().await;
    let second = get_with(&app, "/a?b", &[("accept", "x")]).await;
    assert_eq!((second.x_cache(), second.text()), ("HIT", first.text()));
}

fn failing(cache: cache_axum::cache_engine::Cache) -> (axum::Router, crate::support::Calls, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&broken);
    let layer = CacheLayer::new(cache).ttl(MINUTE).stale_if_error(MINUTE);
    let (app, calls) = app(layer, move |call, _| -> Response {
        if flag.load(Ordering::SeqCst) {
            (StatusCode::SERVICE_UNAVAILABLE, "down").into_response()
        } else {
            call.to_string().into_response()
        }
    });
    (app, calls, broken)
}

#[tokio::test]
async fn a_stale_copy_stands_in_for_a_failing_handler() {
    let (cache, clock) = cache();
    let (app, calls, broken) = failing(cache);
    get(&app, "/").await;
    clock.advance(MINUTE + Duration::from_secs(1));
    broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let stale = get(&app, "/").await;
        assert_eq!(
            (stale.status, stale.text(), stale.x_cache()),
            (StatusCode::OK, "1", "STALE")
        );
        assert_eq!(stale.cache_status(), "cache; fwd=stale; fwd-status=503");
    }
    assert_eq!(calls.count(), 3, "it is asked each time");
    clock.advance(MINUTE);
    let failed = get(&app, "/").await;
    assert_eq!(
        (failed.status, failed.text()),
        (StatusCode::SERVICE_UNAVAILABLE, "down")
    );
    broken.store(false, Ordering::SeqCst);
    assert_eq!(get(&app, "/").await.text(), "5");
}

#[tokio::test]
async fn a_refusal_is_no_failure() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache).ttl(MINUTE).stale_if_error(MINUTE);
    let (app, _) = app(layer, |call, _| match call {
        1 => StatusCode::OK,
        _ => StatusCode::NOT_FOUND,
    });
    get(&app, "/").await;
    clock.advance(MINUTE);
    assert_eq!(get(&app, "/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_gone_does_not_come_back() {
    // The control: a status that says nothing about the URL leaves the copy.
    for (status, is_gone) in [
        (404, true),
        (410, true),
        (451, true),
        (308, true),
        (403, false),
        (503, false),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = move |call| match call {
            1 => StatusCode::OK,
            2 => status,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let (on_error, clock) = cache();
        let (app, _) = app(
            CacheLayer::new(on_error).ttl(MINUTE).stale_if_error(MINUTE),
            move |call, _| answer(call),
        );
        get(&app, "/").await;
        clock.advance(MINUTE);
        get(&app, "/").await;
        let later = get(&app, "/").await;
        assert_eq!(later.status != StatusCode::OK, is_gone, "{status}: {}", later.status);

        let (revalidated, clock) = cache();
        let layer = CacheLayer::new(revalidated).ttl(MINUTE).stale_while_revalidate(MINUTE);
        let (app, _) = crate::support::app(layer, move |call, _| answer(call));
        get(&app, "/").await;
        clock.advance(MINUTE);
        assert_eq!(get(&app, "/").await.x_cache(), "STALE");
        idle().await;
        let later = get(&app, "/").await;
        assert_eq!(later.status != StatusCode::OK, is_gone, "{status}: {}", later.status);
    }
}

#[tokio::test]
async fn the_handler_can_forbid_it() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache)
        .stale_if_error(MINUTE)
        .stale_while_revalidate(MINUTE);
    let (app, _) = app(layer, |call, _| {
        ([("cache-control", "max-age=60, must-revalidate")], call.to_string())
    });
    get(&app, "/").await;
    clock.advance(MINUTE);
    assert_eq!(get(&app, "/").await.text(), "2");
}

#[tokio::test]
async fn the_handler_can_set_windows() {
    let (cache, clock) = cache();
    let (app, _) = app(CacheLayer::new(cache), |call, _| {
        let second = Duration::from_secs(1);
        (
            StoreFor::new(second).stale_while_revalidate(second * 2),
            [("cache-control", "max-age=100")],
            call.to_string(),
        )
    });
    get(&app, "/").await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    clock.advance(Duration::from_secs(2));
    let stale = get(&app, "/").await;
    assert_eq!(
        (stale.x_cache(), stale.text(), stale.header("cache-control")),
        ("STALE", "1", "max-age=100")
    );
    idle().await;
    clock.advance(Duration::from_secs(4));
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

/// A 404 that is stored for a second is not served for the stale windows of the route.
#[tokio::test]
async fn a_failure_with_a_lifetime_of_its_own_has_no_windows_of_the_route() {
    const SECOND: Duration = Duration::from_secs(1);
    let as_set = || StoreFor::new(SECOND);
    for (missing, control, store_for, x_cache) in [
        (true, "", as_set(), "MISS"),
        // What the handler says itself holds.
        (true, "", as_set().stale_if_error(MINUTE), "STALE"),
        (true, "stale-if-error=60", as_set(), "STALE"),
        // The controls: a success, and a 404 with the lifetime of the route.
        (false, "", as_set(), "STALE"),
        (true, "", StoreFor::as_usual(), "STALE"),
    ] {
        let (cache, clock) = cache();
        let layer = CacheLayer::new(cache)
            .ttl(SECOND)
            .stale_while_revalidate(MINUTE)
            .stale_if_error(MINUTE)
            .statuses(|status| status.is_success() || status == StatusCode::NOT_FOUND);
        let settings = store_for.clone();
        let (app, _) = app(layer, move |call, _| {
            let status = match (call, missing) {
                (1, true) => StatusCode::NOT_FOUND,
                (1, false) => StatusCode::OK,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            let control = (!control.is_empty()).then_some([("cache-control", control)]);
            (status, settings.clone(), control, call.to_string())
        });
        get(&app, "/").await;
        assert_eq!(get(&app, "/").await.x_cache(), "HIT", "{store_for:?}");
        clock.advance(SECOND * 2);
        let reply = get(&app, "/").await;
        assert_eq!(
            reply.x_cache(),
            x_cache,
            "{missing} {control} {store_for:?}: {}",
            reply.cache_status()
        );
    }
}

#[tokio::test]
async fn an_error_of_the_service_passes_through_unless_a_stale_copy_stands_in() {
    let (cache, clock) = cache();
    let broken = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&broken);
    let service = CacheLayer::new(cache)
        .ttl(MINUTE)
        .stale_if_error(MINUTE)
        .layer(tower::service_fn(move |_: Request<Body>| {
            let broken = flag.load(Ordering::SeqCst);
            async move {
                if broken {
                    Err("broken")
                } else {
                    Ok(Response::new(Body::from("fine")))
                }
            }
        }));
    let ask = || {
        service
            .clone()
            .oneshot(crate::support::request(http::Method::GET, "/", &[]))
    };
    assert_eq!(ask().await.unwrap_err(), "broken");
    broken.store(false, Ordering::SeqCst);
    assert_eq!(crate::support::reply(ask().await.unwrap()).await.x_cache(), "MISS");
    broken.store(true, Ordering::SeqCst);
    clock.advance(MINUTE);
    let stale = crate::support::reply(ask().await.unwrap()).await;
    assert_eq!(
        (stale.text(), stale.cache_status()),
        ("fine", "cache; fwd=stale; detail=handler-failed")
    );
    clock.advance(MINUTE * 2);
    assert_eq!(ask().await.unwrap_err(), "broken");
}

#[tokio::test]
async fn what_a_refresh_says_is_not_for_the_cache_takes_the_copy_away() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let (app, _) = app(layer, |call, _| {
        let control = if call == 1 { "public" } else { "no-store" };
        ([("cache-control", control)], call.to_string())
    });
    get(&app, "/").await;
    clock.advance(MINUTE);
    assert_eq!(get(&app, "/").await.text(), "1");
    idle().await;
    assert_eq!(get(&app, "/").await.text(), "3");
}

/// A stale copy, and two who ask for it at once while the handler fails.
async fn two_at_once(
    layer: fn(CacheLayer) -> CacheLayer,
    first: &'static str,
    second: &'static str,
) -> [crate::support::Reply; 2] {
    let (cache, clock) = cache();
    let layer = layer(CacheLayer::new(cache).ttl(MINUTE));
    let gate = Arc::new(tokio::sync::Semaphore::new(1));
    let (waiting, calls) = (Arc::clone(&gate), crate::support::Calls::default());
    let handler = move || {
        let (gate, call) = (Arc::clone(&waiting), calls.add());
        async move {
            gate.acquire().await.unwrap().forget();
            match call {
                1 => ([("etag", "\"1\"")], "1").into_response(),
                _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        }
    };
    let app = axum::Router::new().fallback(handler).layer(layer);
    get(&app, "/").await;
    clock.advance(MINUTE + Duration::from_secs(5));
    let ask = |control: &'static str| {
        let app = app.clone();
        tokio::spawn(async move { get_with(&app, "/", &[("cache-control", control)]).await })
    };
    let first = ask(first);
    idle().await;
    let second = ask(second);
    idle().await;
    gate.add_permits(2);
    [first.await.unwrap(), second.await.unwrap()]
}

#[tokio::test]
async fn a_stale_copy_is_shared_with_those_who_may_have_it() {
    let window = |layer: CacheLayer| layer.stale_if_error(MINUTE);
    let [first, second] = two_at_once(window, "max-age=1000", "max-age=1000").await;
    assert_eq!((first.status, first.x_cache()), (StatusCode::OK, "STALE"));
    assert_eq!((second.status, second.x_cache()), (StatusCode::OK, "STALE"));
    // What it would not have got alone, it does not get.
    let [first, second] = two_at_once(window, "max-age=1000", "no-cache").await;
    let failed = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!((first.status, second.status), (StatusCode::OK, failed));
    let asked = |layer: CacheLayer| layer.policy_with(|policy| policy.keep_for_validation = MINUTE);
    let [first, second] = two_at_once(asked, "stale-if-error=1000", "max-age=1000").await;
    assert_eq!((first.status, second.status), (StatusCode::OK, failed));
    let gateway = |layer: CacheLayer| layer.policy_with(|policy| *policy = Policy::shared());
    let [first, second] = two_at_once(gateway, "stale-if-error=1000", "max-age=1000").await;
    assert_eq!((first.status, second.status), (StatusCode::OK, failed));
    let [first, second] = two_at_once(asked, "stale-if-error=1000", "stale-if-error=1000").await;
    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
}
