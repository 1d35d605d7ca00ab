//! What operators can ask for with a request.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Reply, bytes_only, cache, get, get_with, request, send};
use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use cache_axum::cache_engine::Cache;
use cache_axum::{CACHE_DEBUG, CacheLayer};
use cache_memory::MemoryBackend;
use http::Method;

const MINUTE: Duration = Duration::from_secs(60);
const EXPLAIN: &[(&str, &str)] = &[("x-operator", "secret"), ("cache-debug", "explain")];
const BYPASS: &[(&str, &str)] = &[("x-operator", "secret"), ("cache-debug", "bypass")];

fn layer(cache: &Cache) -> CacheLayer {
    CacheLayer::new(cache.clone())
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .namespace("pages")
        .tags(["all", "two words"])
        .debug_if(|request| {
            request
                .headers
                .get("x-operator")
                .is_some_and(|secret| secret == "secret")
        })
}

fn app(layer: CacheLayer) -> Router {
    let handler = |request: Request| async move {
        match request.uri().path() {
            "/private" => ([("cache-control", "private")], "mine").into_response(),
            "/vary" => ([("vary", "accept-language")], "variant").into_response(),
            "/own" => (
                [("cache-control", "max-age=30"), ("cdn-cache-control", "max-age=99")],
                "own",
            )
                .into_response(),
            _ => "item".into_response(),
        }
    };
    Router::new().fallback(handler).layer(layer)
}

async fn explain(app: &Router, uri: &str) -> Reply {
    get_with(app, uri, EXPLAIN).await
}

#[tokio::test]
async fn a_miss_and_a_hit_are_explained() {
    let (cache, clock) = cache();
    let app = app(layer(&cache));
    let miss = explain(&app, "/item").await;
    let says = |reply: &Reply, parts: &[&str]| {
        let status = reply.cache_status();
        for part in parts {
            assert!(status.contains(part), "{part} in {status}");
        }
    };
    let stored = [
        "; tier=store; state=fresh; age=0.0; lifetime=60.0",
        r#"; tags="all two words""#,
    ];
    says(&miss, &["cache; fwd=uri-miss; stored; key=\"cache:pages:", "/item\""]);
    says(&miss, &stored);
    clock.advance(Duration::from_millis(5_500));
    let hit = explain(&app, "/item").await;
    says(
        &hit,
        &[
            "cache; hit; ttl=54; key=",
            "; age=5.5; ",
            "; stale-while-revalidate=60.0; size=",
        ],
    );
    assert_eq!(hit.text(), "item");
    // What the explanation is about is what the others get.
    let plain = get(&app, "/item").await;
    assert_eq!((plain.x_cache(), plain.cache_status()), ("HIT", "cache; hit; ttl=54"));
    clock.advance(MINUTE);
    says(
        &explain(&app, "/item").await,
        &["; hit; ttl=-6; ", "; state=stale-while-revalidate; age=65.5; "],
    );
    cache.settled().await;
    cache.invalidate_tag("all").await.unwrap();
    says(
        &explain(&app, "/item").await,
        &["; fwd=uri-miss; stored; ", "; state=fresh; age=0.0"],
    );
}

#[tokio::test]
async fn refusals_variants_and_bypasses_are_explained() {
    let (cache, _) = cache();
    let app = app(layer(&cache));
    let private = explain(&app, "/private").await;
    let status = private.cache_status();
    assert!(
        status.starts_with("cache; fwd=uri-miss; detail=private; key="),
        "{status}"
    );
    assert!(
        status.contains(r#"; refused="private 0 s ago"; cache-control="private""#),
        "{status}"
    );
    for _ in 0..2 {
        let vary = explain(&app, "/vary").await;
        let status = vary.cache_status();
        assert!(
            status.contains("; vary=\"accept-language\"; variant=\"cache:pages:"),
            "{status}"
        );
        assert!(
            status.contains("; state=fresh; ") && status.contains(r#"; tags="all two words""#),
            "{status}"
        );
    }
    let credentials = [EXPLAIN, &[("authorization", "Bearer x")]].concat();
    let bypass = get_with(&app, "/item", &credentials).await;
    let status = bypass.cache_status();
    assert!(
        status.starts_with("cache; fwd=bypass; detail=authorization; key="),
        "{status}"
    );
    let posted = send(&app, request(Method::POST, "/item", EXPLAIN)).await;
    assert!(posted.cache_status().starts_with("cache; fwd=method; key="));
}

#[tokio::test]
async fn the_near_tier_is_told_apart_and_an_outage_is_told() {
    let (_, clock) = cache();
    let store = bytes_only(&clock);
    let cache = Cache::builder(store.clone())
        .clock(clock.clone())
        .near(MemoryBackend::builder().clock(clock.clone()).build())
        .near_max_age(MINUTE)
        .build();
    let app = app(layer(&cache));
    explain(&app, "/item").await;
    let hit = explain(&app, "/item").await;
    assert!(hit.cache_status().contains("; hit; ") && hit.cache_status().contains("; tier=near; "));
    store.fail(cache_axum::cache_engine::cache_core::ErrorKind::Unavailable);
    let outage = explain(&app, "/other").await;
    let status = outage.cache_status();
    assert!(
        status.contains("; detail=outage; ") && status.contains("; store-error=\""),
        "{status}"
    );
}

/// Neither a CDN nor a browser may give the explanation to others.
#[tokio::test]
async fn an_explanation_is_for_the_operator_alone() {
    let (cache, _) = cache();
    let app = app(layer(&cache));
    for _ in 0..3 {
        let own = explain(&app, "/own").await;
        assert_eq!(own.header("cache-control"), "no-store");
        assert!(!own.headers.contains_key("cdn-cache-control"));
        assert!(own.cache_status().contains(r#"; cache-control="max-age=30""#));
        let plain = get(&app, "/own").await;
        assert_eq!(
            (plain.header("cache-control"), plain.header("cdn-cache-control")),
            ("max-age=30", "max-age=99")
        );
        assert!(!plain.cache_status().contains("key="));
    }
}

#[tokio::test]
async fn only_operators_are_obeyed() {
    let (cache, _) = cache();
    let guarded = app(layer(&cache));
    let open = app(CacheLayer::new(cache.clone()).ttl(MINUTE));
    for app in [guarded, open] {
        get(&app, "/item").await;
        for headers in [
            &[("cache-debug", "explain, bypass")][..],
            &[("cache-debug", "explain, bypass"), ("x-operator", "wrong")],
        ] {
            let reply = get_with(&app, "/item", headers).await;
            assert_eq!((reply.x_cache(), reply.cache_status()), ("HIT", "cache; hit; ttl=60"));
        }
    }
    assert_eq!(CACHE_DEBUG, "cache-debug");
}

#[tokio::test]
async fn a_bypass_goes_past_the_layer_and_past_functions() {
    let (cache, _) = cache();
    let loads = Arc::new(AtomicUsize::new(0));
    let values = cache.with_namespace("values");
    let handler = move || {
        let (values, loads) = (values.clone(), Arc::clone(&loads));
        async move {
            let load = move || async move { Ok::<_, Infallible>(loads.fetch_add(1, Ordering::SeqCst)) };
            values.get_or_load("value", load).await.unwrap().to_string()
        }
    };
    let app: Router = Router::new().fallback(handler).layer(layer(&cache));
    assert_eq!(get(&app, "/").await.text(), "0");
    let bypassed = get_with(&app, "/", BYPASS).await;
    assert_eq!(
        (bypassed.text(), bypassed.cache_status()),
        ("1", "cache; fwd=bypass; detail=debug")
    );
    let both = [("x-operator", "secret"), ("cache-debug", "Bypass,explain")];
    let both = get_with(&app, "/", &both).await;
    let status = both.cache_status();
    assert_eq!(both.text(), "2");
    assert!(
        status.starts_with("cache; fwd=bypass; detail=debug; key=") && status.contains("; state=fresh; "),
        "{status}"
    );
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "0"), "what is stored stays");
}

/// Keys are data, whatever clients put into URLs.
#[tokio::test]
async fn no_url_breaks_the_field() {
    let (cache, _) = cache();
    let app = app(layer(&cache));
    let long = format!("/{}", "x".repeat(5_000));
    for uri in ["/%22;%20hit", "/a?b=%22c%22;d=%5C", "/caf%C3%A9", "/';d", &long] {
        for _ in 0..2 {
            let status = explain(&app, uri).await.cache_status().to_owned();
            assert!(status.len() < 3_000);
            let member = sfv_like(&status);
            assert!(member, "{status}");
        }
    }
}

/// Returns whether all quotes are closed, with backslashes before quotes and backslashes only.
fn sfv_like(text: &str) -> bool {
    let (mut quoted, mut chars) = (false, text.chars());
    while let Some(char) = chars.next() {
        match char {
            '"' => quoted = !quoted,
            '\\' if quoted => {
                if !matches!(chars.next(), Some('"' | '\\')) {
                    return false;
                }
            }
            ' '..='~' => {}
            _ => return false,
        }
    }
    !quoted
}
