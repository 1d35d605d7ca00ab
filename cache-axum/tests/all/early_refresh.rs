//! Responses that are refreshed before they expire, and lifetimes that are shortened at random.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Reply, get_with, idle};
use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::cache_core::ManualClock;
use cache_axum::cache_engine::{Cache, CacheBuilder};
use cache_memory::MemoryBackend;
use http::StatusCode;

const SEC: Duration = Duration::from_secs(1);

struct Test {
    app: Router,
    cache: Cache,
    clock: ManualClock,
    calls: Arc<AtomicUsize>,
}

/// An app behind a layer whose responses are fresh for ten seconds.
fn test(set: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Test {
    let clock = ManualClock::new();
    let store = MemoryBackend::builder()
        .clock(clock.clone())
        .background_purge(false)
        .build();
    let cache = set(Cache::builder(store).clock(clock.clone()).ttl(10 * SEC)).build();
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = {
        let calls = Arc::clone(&calls);
        move |headers: HeaderMap| async move {
            let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
            let fails = headers.contains_key("fail");
            let status = if fails {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::OK
            };
            (status, [("vary", "accept-language")], call.to_string())
        }
    };
    let app = Router::new()
        .route("/", get(handler))
        .layer(CacheLayer::new(cache.clone()));
    Test {
        app,
        cache,
        clock,
        calls,
    }
}

impl Test {
    async fn get(&self, fields: &[(&str, &str)]) -> Reply {
        let reply = get_with(&self.app, "/", fields).await;
        idle().await;
        reply
    }
}

#[tokio::test]
async fn a_response_is_refreshed_before_it_expires_and_stays_a_hit() {
    for german in [&[][..], &[("accept-language", "de")]] {
        let test = test(|builder| builder.early_refresh_after(0.5));
        assert_eq!(test.get(german).await.text(), "1");
        test.clock.advance(4 * SEC);
        assert_eq!(test.get(german).await.text(), "1");
        assert_eq!(test.calls.load(Ordering::SeqCst), 1, "it is too early");
        let before = test.cache.stats().total();
        test.clock.advance(SEC);
        let reply = test.get(german).await;
        assert_eq!((reply.text(), reply.x_cache()), ("1", "HIT"));
        assert_eq!(test.calls.load(Ordering::SeqCst), 2);
        let reply = test.get(german).await;
        assert_eq!((reply.text(), reply.x_cache()), ("2", "HIT"));
        let stats = test.cache.stats().total();
        assert_eq!(
            (stats.hits.total() - before.hits.total(), stats.misses - before.misses),
            (2, 0)
        );
        test.clock.advance(4 * SEC);
        assert_eq!(test.get(german).await.text(), "2", "its lifetime began anew");
        assert_eq!(test.calls.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn under_steady_traffic_every_answer_is_a_hit() {
    for set in [
        (|builder: CacheBuilder| builder.early_refresh_after(0.8)) as fn(CacheBuilder) -> CacheBuilder,
        // A draw that always refreshes what took any time to load.
        |builder| builder.early_refresh_beta(1e9).random(|| 0.5),
    ] {
        let test = test(set);
        test.get(&[]).await;
        for _ in 0..100 {
            test.clock.advance(SEC);
            assert_eq!(test.get(&[]).await.x_cache(), "HIT");
        }
        assert!(test.calls.load(Ordering::SeqCst) > 9);
    }
    let test = test(|builder| builder);
    test.get(&[]).await;
    let mut misses = 0;
    for _ in 0..100 {
        test.clock.advance(SEC);
        misses += usize::from(test.get(&[]).await.x_cache() != "HIT");
    }
    assert!(misses >= 9, "the control: without it, each lifetime ends with a miss");
}

#[tokio::test]
async fn a_handler_that_fails_leaves_the_response() {
    let test = test(|builder| builder.early_refresh_after(0.5));
    test.get(&[]).await;
    test.clock.advance(5 * SEC);
    let reply = test.get(&[("fail", "1")]).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "1"));
    assert_eq!(test.calls.load(Ordering::SeqCst), 2);
    assert_eq!(test.get(&[]).await.text(), "1", "the next one tries again");
    assert_eq!(test.get(&[]).await.text(), "3");
}

/// The seconds for which each of many responses is fresh.
async fn lifetimes(control: Option<&'static str>) -> Vec<u64> {
    let clock = ManualClock::new();
    let store = MemoryBackend::builder().clock(clock.clone()).build();
    let cache = Cache::builder(store)
        .clock(clock.clone())
        .ttl(1000 * SEC)
        .jitter(0.5)
        .build();
    let handler = move || async move {
        let mut headers = HeaderMap::new();
        if let Some(control) = control {
            headers.insert("cache-control", control.parse().unwrap());
        }
        (headers, "text")
    };
    let app = Router::new().route("/{id}", get(handler)).layer(CacheLayer::new(cache));
    let mut lifetimes = Vec::new();
    for id in 0..100 {
        let reply = crate::support::get(&app, &format!("/{id}")).await;
        let seconds = reply.header("cache-control").split("max-age=").nth(1).unwrap();
        lifetimes.push(seconds.split(',').next().unwrap().parse().unwrap());
    }
    lifetimes
}

#[tokio::test]
async fn jitter_concerns_the_lifetimes_of_the_settings_and_none_that_the_handler_states() {
    let own = lifetimes(None).await;
    assert!(own.iter().all(|seconds| (500..=1000).contains(seconds)), "{own:?}");
    assert!(own.iter().any(|seconds| *seconds < 700) && own.iter().any(|seconds| *seconds > 800));
    let stated = lifetimes(Some("max-age=600")).await;
    assert!(stated.iter().all(|seconds| *seconds == 600), "{stated:?}");
}
