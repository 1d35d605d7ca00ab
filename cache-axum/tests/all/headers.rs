//! The headers that the layer adds to responses, and how it handles the directives of requests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{app, cache, get, get_with, layer};
use cache_axum::CacheLayer;
use http::{HeaderName, StatusCode};

#[tokio::test]
async fn the_plain_header_can_be_renamed_or_left_out() {
    let (renamed, _) = app(
        layer().status_header(HeaderName::from_static("x-shop-cache")),
        |_, _| "…",
    );
    for status in ["MISS", "HIT"] {
        let reply = get(&renamed, "/").await;
        assert_eq!((reply.header("x-shop-cache"), reply.x_cache()), (status, ""));
    }
    let (without, _) = app(layer().status_header(None), |_, _| "…");
    let reply = get(&without, "/").await;
    assert_eq!(
        (reply.x_cache(), reply.cache_status()),
        ("", "cache; fwd=uri-miss; stored")
    );
}

#[tokio::test]
async fn the_cache_has_a_name() {
    let (app, _) = app(layer().name("shop front"), |_, _| "…");
    assert_eq!(
        get(&app, "/").await.cache_status(),
        "\"shop front\"; fwd=uri-miss; stored"
    );
}

#[tokio::test]
async fn caches_nearer_to_the_handler_come_first() {
    let inner = layer().name("inner");
    let (app, _) = app(inner, |_, _| "…");
    // In a namespace of its own, so that it is not taken for the same cache.
    let app = app.layer(layer().name("outer").namespace("outer"));
    let lines = |reply: crate::support::Reply| -> Vec<String> {
        let lines = reply.headers.get_all("cache-status").iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    };
    let stored = "fwd=uri-miss; stored";
    assert_eq!(
        lines(get(&app, "/").await),
        [format!("inner; {stored}"), format!("outer; {stored}")]
    );
    assert_eq!(
        lines(get(&app, "/").await),
        [format!("inner; {stored}"), "outer; hit; ttl=60".to_owned()]
    );
}

#[tokio::test]
async fn no_store_passes_by() {
    let (app, calls) = app(layer(), |call, _| call.to_string());
    get(&app, "/").await;
    let own = get_with(&app, "/", &[("cache-control", "no-store")]).await;
    assert_eq!((own.text(), own.x_cache()), ("2", "BYPASS"));
    assert_eq!(own.cache_status(), "cache; fwd=bypass; detail=request-no-store");
    assert_eq!(get(&app, "/").await.text(), "1");
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn no_cache_loads_anew_for_all() {
    for directive in ["no-cache", "max-age=0"] {
        let (app, _) = app(layer(), |call, _| call.to_string());
        get(&app, "/").await;
        let anew = get_with(&app, "/", &[("cache-control", directive)]).await;
        assert_eq!(
            (anew.text(), anew.cache_status()),
            ("2", "cache; fwd=request; stored"),
            "{directive}"
        );
        let hit = get(&app, "/").await;
        assert_eq!((hit.text(), hit.x_cache()), ("2", "HIT"));
    }
}

#[tokio::test]
async fn ages_that_are_asked_for_are_kept_to() {
    let (cache, clock) = cache();
    let (app, _) = app(CacheLayer::new(cache).ttl(Duration::from_secs(60)), |call, _| {
        call.to_string()
    });
    get(&app, "/").await;
    clock.advance(Duration::from_secs(10));
    for (directive, text) in [("max-age=10", "1"), ("min-fresh=50", "1"), ("max-age=9", "2")] {
        assert_eq!(
            get_with(&app, "/", &[("cache-control", directive)]).await.text(),
            text,
            "{directive}"
        );
    }
    clock.advance(Duration::from_secs(10));
    assert_eq!(
        get_with(&app, "/", &[("cache-control", "min-fresh=51")]).await.text(),
        "3"
    );
}

#[tokio::test]
async fn only_if_cached_never_reaches_the_handler() {
    let (app, calls) = app(layer(), |call, _| call.to_string());
    let asked = [("cache-control", "only-if-cached")];
    let nothing = get_with(&app, "/", &asked).await;
    assert_eq!(
        (nothing.status, nothing.cache_status()),
        (StatusCode::GATEWAY_TIMEOUT, "cache; detail=only-if-cached")
    );
    assert_eq!(calls.count(), 0);
    get(&app, "/").await;
    assert_eq!(get_with(&app, "/", &asked).await.text(), "1");
}

#[tokio::test]
async fn directives_can_be_ignored() {
    let (app, calls) = app(
        layer().policy_with(|policy| policy.request_directives = false),
        |call, _| call.to_string(),
    );
    for directive in ["max-age=60", "no-cache", "no-store", "only-if-cached"] {
        assert_eq!(
            get_with(&app, "/", &[("cache-control", directive)]).await.text(),
            "1",
            "{directive}"
        );
    }
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn the_handlers_lifetime_wins_over_the_routes() {
    for (said, lifetime) in [
        ("max-age=10", 10),
        ("max-age=600", 600),
        ("max-age=10, s-maxage=30", 30),
        ("public", 60),
    ] {
        let (cache, clock) = cache();
        let layer = CacheLayer::new(cache).ttl(Duration::from_secs(60));
        let (app, _) = app(layer, move |_, _| ([("cache-control", said)], "…"));
        get(&app, "/").await;
        clock.advance(Duration::from_secs(lifetime) - Duration::from_millis(1));
        assert_eq!(get(&app, "/").await.x_cache(), "HIT", "{said}");
        clock.advance(Duration::from_millis(1));
        assert_eq!(get(&app, "/").await.x_cache(), "MISS", "{said}");
    }
}
