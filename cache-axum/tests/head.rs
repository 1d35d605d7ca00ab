//! HEAD is answered from a stale copy where GET is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use cache_axum::{CacheLayer, OriginUnreachable};
use http::{Method, StatusCode};
use support::{Calls, Reply, app, cache, get, request, send};

const MINUTE: Duration = Duration::from_secs(60);

async fn head(app: &Router, headers: &[(&str, &str)]) -> Reply {
    send(app, request(Method::HEAD, "/", headers)).await
}

fn failing(layer: CacheLayer) -> (Router, Calls, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&broken);
    let (app, calls) = app(layer, move |_, _| -> Response {
        if flag.load(Ordering::SeqCst) {
            (StatusCode::BAD_GATEWAY, OriginUnreachable, "down").into_response()
        } else {
            ([("cache-control", "max-age=60")], "hello").into_response()
        }
    });
    (app, calls, broken)
}

#[tokio::test]
async fn a_stale_copy_answers_at_once_while_it_may() {
    let (cache, clock) = cache();
    let (app, calls) = app(
        CacheLayer::new(cache).ttl(MINUTE).stale_while_revalidate(MINUTE),
        |_, _| "hello",
    );
    get(&app, "/").await;
    clock.advance(MINUTE + Duration::from_secs(5));
    let stale = head(&app, &[]).await;
    assert_eq!(
        (stale.status, stale.header("content-length"), stale.cache_status()),
        (StatusCode::OK, "5", "cache; hit; ttl=-5")
    );
    assert_eq!(calls.count(), 1);
    // Whoever wants a fresh one gets it from the handler.
    assert_eq!(head(&app, &[("cache-control", "no-cache")]).await.x_cache(), "MISS");
    clock.advance(MINUTE);
    assert_eq!(head(&app, &[]).await.x_cache(), "MISS");
    assert_eq!(calls.count(), 3);
}

#[tokio::test]
async fn a_stale_copy_stands_in_for_a_handler_that_fails() {
    let (cache, clock) = cache();
    let (app, calls, broken) = failing(CacheLayer::new(cache).ttl(MINUTE).stale_if_error(MINUTE));
    get(&app, "/").await;
    clock.advance(MINUTE + Duration::from_secs(5));
    broken.store(true, Ordering::SeqCst);
    let stale = head(&app, &[]).await;
    assert_eq!(
        (stale.status, stale.x_cache(), stale.header("content-length")),
        (StatusCode::OK, "STALE", "5")
    );
    assert_eq!(calls.count(), 2, "it was asked");
    assert_eq!(
        head(&app, &[("cache-control", "no-cache")]).await.status,
        StatusCode::BAD_GATEWAY
    );
    clock.advance(MINUTE);
    assert_eq!(head(&app, &[]).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_stale_copy_stands_in_for_an_origin_that_is_out_of_reach() {
    let (cache, clock) = cache();
    let (app, _, broken) = failing(CacheLayer::shared(cache));
    get(&app, "/").await;
    clock.advance(MINUTE * 2);
    broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let stale = head(&app, &[]).await;
        assert_eq!((stale.status, stale.x_cache()), (StatusCode::OK, "STALE"));
    }
    clock.advance(MINUTE * 60 * 25);
    assert_eq!(head(&app, &[]).await.status, StatusCode::BAD_GATEWAY);
}
