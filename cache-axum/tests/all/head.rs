//! HEAD is answered from a stale response whenever GET is, and the handler's answer to HEAD shows whether the stored
//! response is still valid.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Calls, Reply, app, cache, get, request, send};
use axum::Router;
use axum::response::{IntoResponse, Response};
use cache_axum::{CacheLayer, OriginUnreachable};
use http::{Method, StatusCode};

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

/// Header fields that a test may set between two requests.
type Fields = Arc<std::sync::Mutex<Vec<(&'static str, String)>>>;

/// An app with a validator that the test changes, which says what method it was asked by.
fn validated(layer: CacheLayer) -> (Router, Fields) {
    let headers = Fields::default();
    let said = Arc::clone(&headers);
    let (app, _) = app(layer, move |call, request| {
        let mut response = format!("{call}").into_response();
        for (name, value) in said.lock().unwrap().iter() {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        response
            .headers_mut()
            .insert("x-method", request.method.as_str().parse().unwrap());
        response
    });
    (app, headers)
}

fn say(headers: &std::sync::Mutex<Vec<(&'static str, String)>>, said: &[(&'static str, &str)]) {
    *headers.lock().unwrap() = said.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
}

#[tokio::test]
async fn an_answer_that_confirms_the_stored_get_makes_it_fresh_again() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (validator, value) in [("etag", "\"v1\""), ("last-modified", date)] {
        for (name, cache, clock) in stores() {
            let layer = CacheLayer::new(cache).ttl(MINUTE).stale_if_error(MINUTE * 10);
            let (app, headers) = validated(layer);
            say(&headers, &[(validator, value), ("x-color", "red")]);
            get(&app, "/").await;
            clock.advance(MINUTE + Duration::from_secs(5));
            say(&headers, &[(validator, value), ("x-color", "blue")]);
            assert_eq!(head(&app, &[]).await.header("x-method"), "HEAD");
            let hit = get(&app, "/").await;
            assert_eq!(
                (hit.cache_status(), hit.text()),
                ("cache; hit; ttl=60", "1"),
                "{name}: {validator}"
            );
            assert_eq!(hit.header("x-color"), "blue", "{name}: its fields are updated");
        }
    }
}

fn stores() -> [(
    &'static str,
    cache_axum::cache_engine::Cache,
    cache_axum::cache_engine::cache_core::ManualClock,
); 2] {
    let (objects, clock) = cache();
    let bytes = cache_axum::cache_engine::Cache::builder(crate::support::bytes_only(&clock)).clock(clock.clone());
    [("objects", objects, clock.clone()), ("bytes", bytes.build(), clock)]
}

#[tokio::test]
async fn an_answer_that_contradicts_the_stored_get_makes_it_stale() {
    let fresh = &[("cache-control", "no-cache")];
    for contradiction in [("etag", "\"v2\""), ("content-length", "7")] {
        let (cache, _) = cache();
        let layer = CacheLayer::new(cache).ttl(MINUTE).stale_while_revalidate(MINUTE);
        let (app, headers) = validated(layer);
        say(&headers, &[("etag", "\"v1\"")]);
        get(&app, "/").await;
        // The control: one that confirms leaves it.
        head(&app, fresh).await;
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
        say(&headers, &[("etag", "\"v1\""), contradiction]);
        head(&app, fresh).await;
        assert_eq!(get(&app, "/").await.x_cache(), "STALE", "{contradiction:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_for_all_or_proves_nothing_changes_nothing() {
    let fresh = &[("cache-control", "no-cache")];
    let said: [&[(&str, &str)]; 4] = [
        &[("etag", "\"v2\""), ("cache-control", "private")],
        &[("etag", "\"v2\""), ("set-cookie", "a=1")],
        &[("etag", "\"v2\""), ("content-encoding", "gzip")],
        &[],
    ];
    for said in said {
        let (cache, clock) = cache();
        let (app, headers) = validated(CacheLayer::new(cache).ttl(MINUTE).stale_if_error(MINUTE));
        say(&headers, &[("etag", "\"v1\"")]);
        get(&app, "/").await;
        say(&headers, said);
        head(&app, fresh).await;
        assert_eq!(get(&app, "/").await.x_cache(), "HIT", "{said:?}");
        clock.advance(MINUTE + Duration::from_secs(5));
        head(&app, &[]).await;
        assert_eq!(
            get(&app, "/").await.x_cache(),
            "MISS",
            "{said:?}: it is as old as it was"
        );
    }
}

#[tokio::test]
async fn the_variant_that_the_request_selects_is_meant() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache).ttl(MINUTE).stale_if_error(MINUTE * 10);
    let (app, headers) = validated(layer);
    say(&headers, &[("etag", "\"v1\""), ("vary", "accept-language")]);
    let (de, en) = ([("accept-language", "de")], [("accept-language", "en")]);
    for language in [&de, &en] {
        crate::support::get_with(&app, "/", language).await;
    }
    clock.advance(MINUTE + Duration::from_secs(5));
    head(&app, &de).await;
    assert_eq!(crate::support::get_with(&app, "/", &de).await.x_cache(), "HIT");
    assert_eq!(crate::support::get_with(&app, "/", &en).await.x_cache(), "MISS");
}
