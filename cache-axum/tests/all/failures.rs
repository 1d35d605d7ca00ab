//! What counts as a failure of the handler, so that a stale response is used.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use crate::support::{app, cache, get, request, send};
use axum::response::IntoResponse;
use cache_axum::CacheLayer;
use futures_util::FutureExt;
use http::{Method, StatusCode};

const SECOND: Duration = Duration::from_secs(1);

fn stale_layer() -> (CacheLayer, cache_axum::cache_engine::cache_core::ManualClock) {
    let (cache, clock) = cache();
    (
        CacheLayer::new(cache).ttl(10 * SECOND).stale_if_error(60 * SECOND),
        clock,
    )
}

#[tokio::test]
async fn a_panic_counts() {
    let (layer, clock) = stale_layer();
    let (app, _) = app(layer, |call, _| {
        assert!(call == 1, "the handler fails");
        "good"
    });
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    let reply = get(&app, "/").await;
    assert_eq!(
        (reply.text(), reply.cache_status()),
        ("good", "cache; fwd=stale; detail=handler-failed")
    );
    // Without coalescing as well.
    let head = send(&app, request(Method::HEAD, "/", &[])).await;
    assert_eq!((head.status, head.x_cache()), (StatusCode::OK, "STALE"));
    clock.advance(60 * SECOND);
    assert!(
        AssertUnwindSafe(get(&app, "/")).catch_unwind().await.is_err(),
        "the copy is too old"
    );
}

#[tokio::test]
async fn the_statuses_can_be_set() {
    for (is_set, status, text) in [
        (true, 429, "good"),
        (false, 429, ""),
        (true, 500, ""),
        (false, 500, "good"),
    ] {
        let (layer, clock) = stale_layer();
        let layer = if is_set {
            layer.failure_statuses(|status| status == StatusCode::TOO_MANY_REQUESTS)
        } else {
            layer
        };
        let (app, _) = app(layer, move |call, _| {
            if call == 1 {
                "good".into_response()
            } else {
                StatusCode::from_u16(status).unwrap().into_response()
            }
        });
        get(&app, "/").await;
        clock.advance(11 * SECOND);
        assert_eq!(get(&app, "/").await.text(), text, "{is_set} {status}");
    }
}
