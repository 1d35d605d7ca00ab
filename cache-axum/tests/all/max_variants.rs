//! A URL whose responses vary by a field with arbitrary values must not fill the store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Calls, app, cache, get_with, send};
use axum::Router;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;

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
const HIT: &str = "cache; hit; ttl=60";
const REFUSED: &str = "cache; fwd=uri-miss; detail=too-many-variants";

/// Caches on a store of objects and on one of bytes.
fn caches() -> [(&'static str, Cache); 2] {
    let clock = ManualClock::new();
    let bytes = Cache::builder(crate::support::bytes_only(&clock)).clock(clock).build();
    [("objects", cache().0), ("bytes", bytes)]
}

#[tokio::test]
async fn the_least_recently_used_one_makes_room() {
    for (name, cache) in caches() {
        let (app, _) = by_language(cache, 3);
        assert_eq!(ask(&app, "de").await, STORED, "{name}");
        for language in ["en", "fr"] {
            assert_eq!(ask(&app, language).await, OTHER, "{name}");
        }
        // From now on `fr` is the one that nobody asks for.
        for language in ["en", "de", "en"] {
            assert_eq!(ask(&app, language).await, HIT, "{name}");
        }
        assert_eq!(ask(&app, "it").await, OTHER, "{name}");
        // And now `de`: it was asked for before `en`, and `it` was stored last.
        assert_eq!(ask(&app, "nl").await, OTHER, "{name}");
        for language in ["en", "it", "nl"] {
            assert_eq!(ask(&app, language).await, HIT, "{name}: {language}");
        }
        assert_eq!(ask(&app, "fr").await, OTHER, "{name}");
        assert_eq!(ask(&app, "de").await, OTHER, "{name}");
        assert_eq!(ask(&app, "nl").await, HIT, "{name}");
    }
}

#[tokio::test]
async fn strangers_do_not_push_out_what_is_used() {
    for (name, cache) in caches() {
        let (app, _) = by_language(cache, 5);
        ask(&app, "de").await;
        for number in 0..50 {
            assert_eq!(ask(&app, &format!("x-{number}")).await, OTHER, "{name}");
            assert_eq!(ask(&app, "de").await, HIT, "{name}: after {number} strangers");
        }
    }
}

#[tokio::test]
async fn long_selections_are_told_apart() {
    let long = |end: &str| format!("{}{end}", "x".repeat(1000));
    for (name, cache) in caches() {
        let (app, calls) = by_language(cache, 2);
        for language in [long("1"), long("2")] {
            assert!(ask(&app, &language).await.ends_with("; stored"), "{name}");
        }
        for language in [long("1"), long("2")] {
            assert_eq!(ask(&app, &language).await, HIT, "{name}");
        }
        assert_eq!(calls.count(), 2);
        assert_eq!(ask(&app, &long("3")).await, OTHER, "{name}");
        assert_eq!(ask(&app, &long("2")).await, HIT, "{name}");
        assert_eq!(ask(&app, &long("1")).await, OTHER, "{name}");
    }
}

/// Counts what a store holds.
async fn stored(cache: &Cache, app: &Router, languages: &[String]) -> usize {
    let mut count = 0;
    for language in languages {
        let only = [
            ("accept-language", language.as_str()),
            ("cache-control", "only-if-cached"),
        ];
        count += usize::from(get_with(app, "/", &only).await.status == http::StatusCode::OK);
    }
    let removed = cache.clear("").await.unwrap();
    // The index is a record too.
    if let Some(removed) = removed {
        assert_eq!(removed, count as u64 + 1, "what is stored can be reached");
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bound_is_strict_also_for_requests_that_come_at_once() {
    let languages: Vec<String> = (0..200).map(|number| format!("x-{number}")).collect();
    for (name, cache) in caches() {
        let (app, _) = by_language(cache.clone(), 10);
        ask(&app, "x-0").await;
        let mut asking = tokio::task::JoinSet::new();
        for language in languages.clone() {
            let app = app.clone();
            asking.spawn(async move { ask(&app, &language).await });
        }
        asking.join_all().await;
        assert_eq!(stored(&cache, &app, &languages).await, 10, "{name}");
    }
    // The control: with a bound that none of them reaches, all are there.
    let (cache, _) = cache();
    let (app, _) = by_language(cache.clone(), 1000);
    for language in &languages {
        ask(&app, language).await;
    }
    assert_eq!(stored(&cache, &app, &languages).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bound_is_strict_among_several_processes_on_one_store() {
    let clock = ManualClock::new();
    let store = crate::support::bytes_only(&clock);
    let caches: Vec<Cache> = (0..4)
        .map(|_| Cache::builder(store.clone()).clock(clock.clone()).build())
        .collect();
    let apps: Vec<Router> = caches.iter().map(|cache| by_language(cache.clone(), 5).0).collect();
    let languages: Vec<String> = (0..40).map(|number| format!("x-{number}")).collect();
    ask(&apps[0], "x-0").await;
    let mut asking = tokio::task::JoinSet::new();
    for (number, language) in languages.iter().cloned().enumerate() {
        let app = apps[number % apps.len()].clone();
        asking.spawn(async move { ask(&app, &language).await });
    }
    asking.join_all().await;
    assert!(stored(&caches[0], &apps[0], &languages).await <= 5);
}

#[tokio::test]
async fn what_was_refreshed_keeps_its_place() {
    let (cache, clock) = cache();
    let (app, _) = by_language(cache, 2);
    ask(&app, "de").await;
    ask(&app, "en").await;
    clock.advance(Duration::from_secs(61));
    assert!(ask(&app, "de").await.ends_with("; stored"));
    // `en` has expired, and nobody has asked for it since.
    assert_eq!(ask(&app, "fr").await, OTHER);
    assert_eq!(ask(&app, "de").await, HIT);
}

#[tokio::test]
async fn an_invalidation_empties_the_list() {
    let (app, _) = by_language(cache().0, 1);
    ask(&app, "de").await;
    assert_eq!(ask(&app, "en").await, OTHER);
    send(&app, crate::support::request(http::Method::PUT, "/", &[])).await;
    assert_eq!(ask(&app, "en").await, STORED);
}

#[tokio::test]
async fn none_are_stored_if_none_are_allowed() {
    let (app, calls) = by_language(cache().0, 0);
    for _ in 0..2 {
        assert_eq!(ask(&app, "de").await, REFUSED);
    }
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn a_hundred_are_allowed_unless_set() {
    let layer = CacheLayer::new(cache().0).ttl(Duration::from_secs(60));
    let (app, _) = app(layer, |_, _| ([("vary", "accept-language")], "…"));
    for number in 0..=100 {
        let status = ask(&app, &format!("x-{number}")).await;
        assert!(status.ends_with("; stored"), "{number}: {status}");
    }
    // Most recent first, since those that are asked for and not there take the place of others.
    for number in (1..=100).rev() {
        assert_eq!(ask(&app, &format!("x-{number}")).await, HIT);
    }
    assert_eq!(ask(&app, "x-0").await, OTHER);
}
