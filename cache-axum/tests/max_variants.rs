//! A URL whose answers differ by a field that anybody can invent values of must not fill the store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use axum::Router;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;
use support::{Calls, app, cache, get_with, send};

fn by_language(cache: Cache, variants: usize) -> (Router, Calls) {
    let layer = CacheLayer::new(cache)
        .ttl(Duration::from_secs(60))
        .max_variants(variants);
    app(layer, |call, request| {
        let language = request.headers.get("accept-language").cloned();
        ([("vary", "accept-language")], format!("{language:?} {call}"))
    })
}

async fn ask(app: &Router, language: &str) -> String {
    get_with(app, "/", &[("accept-language", language)])
        .await
        .cache_status()
        .to_owned()
}

const STORED: &str = "cache; fwd=uri-miss; stored";
const OTHER: &str = "cache; fwd=vary-miss; stored";
const FULL: &str = "cache; fwd=vary-miss; detail=too-many-variants";

#[tokio::test]
async fn no_more_are_stored_than_allowed_and_those_that_are_keep_their_place() {
    let clock = ManualClock::new();
    for (name, cache) in [
        ("objects", cache().0),
        (
            "bytes",
            Cache::builder(support::bytes_only(&clock)).clock(clock.clone()).build(),
        ),
    ] {
        let (app, calls) = by_language(cache, 2);
        assert_eq!(ask(&app, "de").await, STORED, "{name}");
        assert_eq!(ask(&app, "en").await, OTHER, "{name}");
        for invented in ["x-1", "x-2", "x-1"] {
            assert_eq!(ask(&app, invented).await, FULL, "{name}");
        }
        for stored in ["de", "en"] {
            assert_eq!(ask(&app, stored).await, "cache; hit; ttl=60", "{name}");
        }
        assert_eq!(calls.count(), 5);
    }
}

#[tokio::test]
async fn what_expires_makes_room() {
    let (cache, clock) = cache();
    let (app, _) = by_language(cache, 2);
    ask(&app, "de").await;
    clock.advance(Duration::from_secs(40));
    ask(&app, "en").await;
    assert_eq!(ask(&app, "fr").await, FULL);
    clock.advance(Duration::from_secs(21));
    assert_eq!(ask(&app, "fr").await, OTHER);
    // And now `de` is the one too many.
    assert_eq!(ask(&app, "de").await, FULL);
    assert_eq!(ask(&app, "en").await, "cache; hit; ttl=39");
}

#[tokio::test]
async fn an_invalidation_empties_the_list() {
    let (app, _) = by_language(cache().0, 1);
    ask(&app, "de").await;
    assert_eq!(ask(&app, "en").await, FULL);
    send(&app, support::request(http::Method::PUT, "/", &[])).await;
    assert_eq!(ask(&app, "en").await, STORED);
}

#[tokio::test]
async fn a_hundred_are_allowed_unless_set() {
    let layer = CacheLayer::new(cache().0).ttl(Duration::from_secs(60));
    let (app, _) = app(layer, |_, _| ([("vary", "accept-language")], "…"));
    for number in 0..100 {
        let status = ask(&app, &format!("x-{number}")).await;
        assert!(status.ends_with("; stored"), "{number}: {status}");
    }
    assert_eq!(ask(&app, "x-100").await, FULL);
}
