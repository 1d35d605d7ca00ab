//! A soft invalidation keeps responses for their stale windows, including those that vary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Calls, Reply, cache, get_with, idle, request, send};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use cache_axum::{CacheHandle, CacheLayer};
use http::StatusCode;
use http::header::VARY;

const SEC: Duration = Duration::from_secs(1);

/// Answers that are numbered, vary by language, and fail from a call on; a path that invalidates softly.
fn app(layer: CacheLayer, fails_from: usize) -> (Router, Calls) {
    let calls = Calls::default();
    let counter = calls.clone();
    let page = move || async move {
        let call = counter.add();
        let status = if call >= fails_from {
            StatusCode::BAD_GATEWAY
        } else {
            StatusCode::OK
        };
        (status, [(VARY, "accept-language")], call.to_string())
    };
    let soften = |Path(how): Path<String>, cache: CacheHandle| async move {
        match how.as_str() {
            "url" => {
                let removed = cache.soft().invalidate_url("/page").await.unwrap();
                assert_eq!(removed, None, "a soft invalidation removes nothing");
            }
            _ => cache.soft().invalidate_tag("site").await.unwrap(),
        }
    };
    let app = Router::new()
        .route("/page", get(page))
        .route("/soften/{how}", post(soften))
        .layer(layer);
    (app, calls)
}

async fn ask(app: &Router, language: &str) -> Reply {
    get_with(app, "/page", &[("accept-language", language)]).await
}

async fn soften(app: &Router, how: &str) {
    let reply = send(app, request(http::Method::POST, &format!("/soften/{how}"), &[])).await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn a_copy_is_answered_as_stale_while_a_new_one_is_fetched() {
    for how in ["url", "tag"] {
        let (cache, clock) = cache();
        let layer = CacheLayer::new(cache.with_tags(["site"]))
            .ttl(60 * SEC)
            .stale_while_revalidate(30 * SEC);
        let (app, calls) = app(layer, usize::MAX);
        assert_eq!(ask(&app, "de").await.x_cache(), "MISS");
        assert_eq!(ask(&app, "en").await.x_cache(), "MISS");
        assert_eq!(ask(&app, "de").await.x_cache(), "HIT");
        clock.advance(50 * SEC);
        soften(&app, how).await;
        clock.advance(5 * SEC);
        let stale = ask(&app, "de").await;
        assert_eq!((stale.x_cache(), stale.text()), ("STALE", "1"), "{how}");
        assert!(stale.cache_status().contains("ttl=-5"), "{}", stale.cache_status());
        assert_eq!(stale.header("cache-control"), "max-age=0");
        while calls.count() < 3 {
            idle().await;
        }
        idle().await;
        let new = ask(&app, "de").await;
        assert_eq!((new.x_cache(), new.text()), ("HIT", "3"), "{how}");
        assert_ne!(
            ask(&app, "en").await.x_cache(),
            "HIT",
            "{how}: nothing of before is fresh"
        );
    }
}

#[tokio::test]
async fn a_copy_is_answered_if_the_handler_fails_and_not_after_a_hard_one() {
    for how in ["url", "tag"] {
        let (cache, _) = cache();
        let layer = CacheLayer::new(cache.with_tags(["site"]))
            .ttl(60 * SEC)
            .stale_if_error(30 * SEC);
        let (app, _) = app(layer, 2);
        ask(&app, "de").await;
        soften(&app, how).await;
        let stale = ask(&app, "de").await;
        assert_eq!(
            (stale.status, stale.x_cache(), stale.text()),
            (StatusCode::OK, "STALE", "1"),
            "{how}"
        );
        cache.invalidate_tag("site").await.unwrap();
        assert_eq!(ask(&app, "de").await.status, StatusCode::BAD_GATEWAY, "{how}");
    }
}

#[tokio::test]
async fn without_a_window_nothing_is_kept() {
    for how in ["url", "tag"] {
        let (cache, _) = cache();
        let layer = CacheLayer::new(cache.with_tags(["site"])).ttl(60 * SEC);
        let (app, _) = app(layer, usize::MAX);
        ask(&app, "de").await;
        soften(&app, how).await;
        assert_eq!(ask(&app, "de").await.x_cache(), "MISS", "{how}");
    }
}

#[tokio::test]
async fn who_asks_for_a_variant_that_never_was_is_told_so() {
    for how in ["url", "tag"] {
        let (cache, _) = cache();
        let layer = CacheLayer::new(cache.with_tags(["site"]))
            .ttl(60 * SEC)
            .stale_while_revalidate(30 * SEC);
        let (app, _) = app(layer, usize::MAX);
        ask(&app, "de").await;
        soften(&app, how).await;
        let reply = ask(&app, "fr").await;
        assert_eq!(reply.cache_status(), "cache; fwd=vary-miss; stored", "{how}");
    }
}
