//! Validation: a stale response is validated instead of loaded anew, and a 304 makes it fresh again (RFC 9111, section
//! 4.3).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Calls, app, cache, get, get_with};
use axum::Router;
use axum::response::{IntoResponse, Response};
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;
use cache_axum::{CacheLayer, OriginUnreachable};
use cache_memory::MemoryBackend;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

const SECOND: Duration = Duration::from_secs(1);

fn shared() -> (CacheLayer, ManualClock) {
    let (cache, clock) = cache();
    (CacheLayer::shared(cache), clock)
}

/// A shared cache before an origin whose resource has the tag `"v1"` and is fresh for ten seconds.
fn tagged(not_modified: &'static [(&'static str, &'static str)]) -> (Router, Calls, ManualClock) {
    let (layer, clock) = shared();
    let (app, calls) = app(layer, move |call, request| {
        if asks(&request, "if-none-match", "\"v1\"") {
            return with(StatusCode::NOT_MODIFIED, not_modified, "");
        }
        let headers = [("cache-control", "max-age=10"), ("etag", "\"v1\""), ("version", "1")];
        with(StatusCode::OK, &headers, format!("call {call}"))
    });
    (app, calls, clock)
}

fn asks(request: &Parts, name: &str, value: &str) -> bool {
    request.headers.get_all(name).iter().any(|line| line == value)
}

fn with(status: StatusCode, headers: &[(&'static str, &'static str)], body: impl IntoResponse) -> Response {
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

#[tokio::test]
async fn a_304_makes_the_stored_copy_fresh_again() {
    let (app, calls, clock) = tagged(&[("etag", "\"v1\""), ("cache-control", "max-age=10")]);
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    let validated = get(&app, "/").await;
    assert_eq!((validated.status, validated.text()), (StatusCode::OK, "call 1"));
    assert_eq!(validated.cache_status(), "cache; fwd=stale; fwd-status=304; stored");
    clock.advance(9 * SECOND);
    let hit = get(&app, "/").await;
    assert_eq!((hit.text(), hit.cache_status()), ("call 1", "cache; hit; ttl=1"));
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn the_fields_of_a_304_take_the_place_of_those_stored_but_not_those_of_the_content() {
    let (app, _, clock) = tagged(&[("etag", "\"v1\""), ("version", "2"), ("content-encoding", "gzip")]);
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    for x_cache in ["validated", "from the store"] {
        let reply = get(&app, "/").await;
        assert_eq!(
            (reply.header("version"), reply.header("content-encoding")),
            ("2", ""),
            "{x_cache}"
        );
        assert_eq!(reply.header("cache-control"), "max-age=10", "{x_cache}");
    }
}

#[tokio::test]
async fn a_304_about_another_response_is_of_no_use_so_the_whole_is_asked_for() {
    let (app, calls, clock) = tagged(&[("etag", "\"v2\"")]);
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    let reply = get(&app, "/").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "call 3"));
    assert_eq!(calls.count(), 3);
}

#[tokio::test]
async fn a_304_that_says_private_removes_the_copy_and_answers_the_one_who_asked() {
    let (app, calls, clock) = tagged(&[("etag", "\"v1\""), ("cache-control", "private")]);
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    let reply = get(&app, "/").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "call 1"));
    assert_eq!(reply.cache_status(), "cache; fwd=stale; fwd-status=304; detail=private");
    assert_eq!(get(&app, "/").await.text(), "call 3");
    assert_eq!(calls.count(), 3);
}

#[tokio::test]
async fn a_client_with_the_same_copy_gets_a_304_of_its_own() {
    let (app, _, clock) = tagged(&[("etag", "\"v1\"")]);
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    let reply = get_with(&app, "/", &[("if-none-match", "\"v1\"")]).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::NOT_MODIFIED, ""));
    // And one with another copy the whole, though the origin has said 304.
    clock.advance(11 * SECOND);
    let reply = get_with(&app, "/", &[("if-none-match", "\"other\"")]).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "call 1"));
}

#[tokio::test]
async fn a_response_that_says_no_cache_is_validated_each_time() {
    let (layer, _) = shared();
    let (app, calls) = app(layer, |call, request| {
        let headers = [("cache-control", "no-cache"), ("etag", "\"v1\"")];
        if asks(&request, "if-none-match", "\"v1\"") {
            with(StatusCode::NOT_MODIFIED, &headers, "")
        } else {
            with(StatusCode::OK, &headers, format!("call {call}"))
        }
    });
    for call in 1..=3 {
        assert_eq!(get(&app, "/").await.text(), "call 1");
        assert_eq!(calls.count(), call);
    }
}

#[tokio::test]
async fn what_was_validated_for_one_is_validated_for_the_next_too() {
    let (layer, _) = shared();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    let (calls, theirs) = (Calls::default(), std::sync::Arc::clone(&gate));
    let counter = calls.clone();
    let handler = move |request: axum::extract::Request| {
        let (call, gate) = (counter.add(), std::sync::Arc::clone(&theirs));
        async move {
            gate.acquire().await.unwrap().forget();
            let headers = [
                ("cache-control", "no-cache, private=\"set-cookie\""),
                ("etag", "\"v1\""),
            ];
            let mut response = match request.headers().contains_key("if-none-match") {
                true => with(StatusCode::NOT_MODIFIED, &headers, ""),
                false => with(StatusCode::OK, &headers, format!("call {call}")),
            };
            let cookie = format!("call={call}").parse().unwrap();
            response.headers_mut().insert("set-cookie", cookie);
            response
        }
    };
    let app = Router::new().fallback(handler).layer(layer);
    get(&app, "/").await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { get(&app, "/").await })
        })
        .collect();
    crate::support::idle().await;
    gate.add_permits(3);
    let mut cookies = Vec::new();
    for reply in waiting {
        let reply = reply.await.unwrap();
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, "call 1"));
        cookies.push(reply.header("set-cookie").to_owned());
        assert!(
            reply.cache_status().contains("fwd-status=304"),
            "{}",
            reply.cache_status()
        );
    }
    // Each of them was asked about, and has the cookie that was set for it.
    assert_eq!(calls.count(), 4);
    cookies.sort();
    assert_eq!(cookies, ["call=2", "call=3", "call=4"]);
}

#[tokio::test]
async fn the_date_is_asked_about_where_there_is_no_tag() {
    const DATE: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    let (layer, clock) = shared();
    let (app, _) = app(layer, |call, request| {
        assert!(!request.headers.contains_key("if-none-match"));
        let headers = [("cache-control", "max-age=10"), ("last-modified", DATE)];
        if asks(&request, "if-modified-since", DATE) {
            with(StatusCode::NOT_MODIFIED, &headers, "")
        } else {
            with(StatusCode::OK, &headers, format!("call {call}"))
        }
    });
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    assert_eq!(get(&app, "/").await.text(), "call 1");
}

#[tokio::test]
async fn a_request_for_no_cache_has_a_fresh_copy_validated() {
    let (app, calls, _) = tagged(&[("etag", "\"v1\"")]);
    get(&app, "/").await;
    let reply = get_with(&app, "/", &[("cache-control", "no-cache")]).await;
    assert_eq!(reply.text(), "call 1");
    assert_eq!(reply.cache_status(), "cache; fwd=request; fwd-status=304; stored");
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn what_was_invalidated_while_it_was_validated_is_not_brought_back() {
    let (layer, clock) = shared();
    let (asked, answer) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let gates = std::sync::Arc::new((asked, answer));
    let theirs = std::sync::Arc::clone(&gates);
    let handler = move |request: axum::extract::Request| {
        let gates = std::sync::Arc::clone(&theirs);
        async move {
            let headers = [("cache-control", "max-age=10"), ("etag", "\"v1\"")];
            if !request.headers().contains_key("if-none-match") {
                return with(StatusCode::OK, &headers, request.method().to_string());
            }
            gates.0.notify_one();
            gates.1.notified().await;
            with(StatusCode::NOT_MODIFIED, &headers, "")
        }
    };
    let app = Router::new().fallback(handler).layer(layer);
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    let theirs = app.clone();
    let validating = tokio::spawn(async move { get(&theirs, "/").await });
    gates.0.notified().await;
    crate::support::send(&app, crate::support::request(http::Method::PUT, "/", &[])).await;
    gates.1.notify_one();
    assert!(validating.await.unwrap().cache_status().contains("detail=invalidated"));
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_handler_behind_the_route_policy_is_asked_about_its_own_tag_and_never_about_ours() {
    for (own, asked_about, in_bytes) in [
        (Some("\"v1\""), true, false),
        (None, false, false),
        (Some("\"v1\""), true, true),
        (None, false, true),
    ] {
        let (mut cache, clock) = cache();
        if in_bytes {
            cache = Cache::builder(crate::support::bytes_only(&clock))
                .clock(clock.clone())
                .build();
        }
        let layer = CacheLayer::new(cache).ttl(10 * SECOND).stale_if_error(60 * SECOND);
        let (app, _) = app(layer, move |call, request| {
            if call > 1 {
                assert_eq!(request.headers.contains_key("if-none-match"), asked_about);
            }
            match own {
                Some(tag) if asks(&request, "if-none-match", tag) => {
                    with(StatusCode::NOT_MODIFIED, &[("etag", tag)], "")
                }
                Some(tag) => with(StatusCode::OK, &[("etag", tag)], format!("call {call}")),
                None => with(StatusCode::OK, &[], format!("call {call}")),
            }
        });
        get(&app, "/").await;
        clock.advance(11 * SECOND);
        assert_eq!(
            get(&app, "/").await.text(),
            if asked_about { "call 1" } else { "call 2" }
        );
    }
}

#[tokio::test]
async fn a_stale_copy_answers_for_an_origin_out_of_reach_but_not_for_one_that_says_503() {
    for (unreachable, expected) in [(true, "STALE"), (false, "MISS")] {
        let (layer, clock) = shared();
        let (app, _) = app(layer, move |call, _| match (call, unreachable) {
            (1, _) => with(StatusCode::OK, &[("cache-control", "max-age=10")], "stored"),
            (_, true) => (StatusCode::BAD_GATEWAY, OriginUnreachable, "").into_response(),
            (_, false) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        });
        get(&app, "/").await;
        clock.advance(11 * SECOND);
        assert_eq!(get(&app, "/").await.x_cache(), expected);
    }
}

#[tokio::test]
async fn a_copy_that_must_be_revalidated_answers_for_nobody() {
    for directives in [
        "max-age=10, must-revalidate",
        "s-maxage=10",
        "max-age=10, proxy-revalidate",
    ] {
        let (layer, clock) = shared();
        let (app, _) = app(layer, move |call, _| match call {
            1 => with(
                StatusCode::OK,
                &[("cache-control", directives), ("etag", "\"v1\"")],
                "stored",
            ),
            _ => (StatusCode::BAD_GATEWAY, OriginUnreachable, "").into_response(),
        });
        get(&app, "/").await;
        clock.advance(11 * SECOND);
        assert_eq!(get(&app, "/").await.status, StatusCode::BAD_GATEWAY, "{directives}");
    }
}

#[tokio::test]
async fn an_error_of_the_origin_leaves_the_stored_copy_where_it_is() {
    let (layer, clock) = shared();
    let (app, _) = app(layer, |call, request| match call {
        1 => with(
            StatusCode::OK,
            &[("cache-control", "max-age=10"), ("etag", "\"v1\"")],
            "stored",
        ),
        2 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => {
            assert!(asks(&request, "if-none-match", "\"v1\""));
            with(StatusCode::NOT_MODIFIED, &[("etag", "\"v1\"")], "")
        }
    });
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    assert_eq!(get(&app, "/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    // Nobody waits for a URL whose last answer was not for sharing, for ten seconds.
    clock.advance(11 * SECOND);
    assert_eq!(get(&app, "/").await.text(), "stored");
}

#[tokio::test]
async fn each_variant_is_validated_by_its_own_tag() {
    let (layer, clock) = shared();
    let (app, _) = app(layer, |_, request| {
        let tag = if asks(&request, "accept", "a") {
            "\"a\""
        } else {
            "\"b\""
        };
        let headers = [("cache-control", "max-age=10"), ("vary", "accept"), ("etag", tag)];
        if request.headers.contains_key("if-none-match") {
            assert!(asks(&request, "if-none-match", tag));
            return with(StatusCode::NOT_MODIFIED, &headers, "");
        }
        with(StatusCode::OK, &headers, tag)
    });
    for _ in 0..2 {
        for (accept, text) in [("a", "\"a\""), ("b", "\"b\"")] {
            assert_eq!(get_with(&app, "/", &[("accept", accept)]).await.text(), text);
        }
        clock.advance(11 * SECOND);
    }
}

#[tokio::test]
async fn what_a_store_of_bytes_keeps_is_validated_alike() {
    let clock = ManualClock::new();
    let cache = Cache::builder(crate::support::bytes_only(&clock))
        .clock(clock.clone())
        .build();
    let (app, calls) = app(CacheLayer::shared(cache), |call, request| {
        let headers = [("cache-control", "max-age=10"), ("etag", "\"v1\"")];
        match request.headers.contains_key("if-none-match") {
            true => with(StatusCode::NOT_MODIFIED, &headers, ""),
            false => with(StatusCode::OK, &headers, format!("call {call}")),
        }
    });
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    assert_eq!(get(&app, "/").await.text(), "call 1");
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn a_gateway_adds_nothing_for_clients() {
    let (layer, _) = shared();
    let (app, _) = app(layer, |_, _| {
        with(StatusCode::OK, &[("cache-control", "max-age=10")], "…")
    });
    for _ in 0..2 {
        let headers: HeaderMap = get(&app, "/").await.headers;
        assert!(!headers.contains_key("etag"));
        assert_eq!(headers["cache-control"], "max-age=10");
    }
}

#[tokio::test]
async fn fields_for_one_user_reach_that_one_and_are_not_stored() {
    let (cache, _) = cache();
    let layer = CacheLayer::new(cache);
    let (app, _) = app(layer, |_, _| {
        let headers = [
            ("cache-control", "max-age=10, private=\"for-you\""),
            ("for-you", "secret"),
        ];
        with(StatusCode::OK, &headers, "…")
    });
    assert_eq!(get(&app, "/").await.header("for-you"), "secret");
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.header("for-you")), ("HIT", ""));
}

/// An origin whose first answer and whose 304s have these fields, after a first request and eleven seconds.
async fn validating(
    layer: CacheLayer,
    clock: ManualClock,
    first: &'static [(&'static str, &'static str)],
    not_modified: &'static [(&'static str, &'static str)],
) -> Router {
    let (app, _) = app(layer, move |_, request| {
        let asks = asks(&request, "if-none-match", "\"v1\"");
        let (status, headers) = match asks {
            true => (StatusCode::NOT_MODIFIED, not_modified),
            false => (StatusCode::OK, first),
        };
        let mut response = with(status, headers, if asks { "" } else { "whole" });
        response.headers_mut().insert("etag", "\"v1\"".parse().unwrap());
        response
    });
    get(&app, "/").await;
    clock.advance(11 * SECOND);
    app
}

/// Both policies, keeping stale copies to be asked about.
fn both() -> [(CacheLayer, ManualClock); 2] {
    let (cache, clock) = cache();
    [
        (
            CacheLayer::new(cache).policy_with(|policy| policy.keep_for_validation = 60 * SECOND),
            clock,
        ),
        shared(),
    ]
}

#[tokio::test]
async fn fields_of_a_304_for_one_user_reach_that_one_and_are_not_stored() {
    for (first, not_modified) in [
        // What the stored response said of the field holds where the 304 says nothing.
        (
            &[("cache-control", "max-age=10, private=\"x-user\""), ("x-user", "ann")][..],
            &[("x-user", "ben")][..],
        ),
        (
            &[("cache-control", "max-age=10, no-cache=\"x-user\"")],
            &[("x-user", "ben")],
        ),
        (
            &[("cache-control", "max-age=10, private=\"x-user\"")],
            &[("x-user", "ben"), ("cache-control", "max-age=10")],
        ),
        // What the 304 says of it holds for what was stored too.
        (
            &[("cache-control", "max-age=10"), ("x-user", "ann")],
            &[("cache-control", "max-age=10, private=\"x-user\""), ("x-user", "ben")],
        ),
        (
            &[("cache-control", "max-age=10"), ("x-user", "ann")],
            &[("cache-control", "max-age=10, private=\"x-user\"")],
        ),
    ] {
        for (layer, clock) in both() {
            let app = validating(layer, clock, first, not_modified).await;
            let own = not_modified.iter().find(|(name, _)| *name == "x-user");
            let validated = get(&app, "/").await;
            assert_eq!(validated.cache_status(), "cache; fwd=stale; fwd-status=304; stored");
            assert_eq!(
                validated.header("x-user"),
                own.map_or("", |(_, value)| value),
                "{not_modified:?}"
            );
            let hit = get(&app, "/").await;
            assert_eq!((hit.x_cache(), hit.text()), ("HIT", "whole"));
            assert_eq!(hit.header("x-user"), "", "{first:?} {not_modified:?}");
        }
    }
}

#[tokio::test]
async fn the_cookies_of_a_304_reach_the_one_who_asked() {
    const COOKIES: &[(&str, &str)] = &[("set-cookie", "session=new"), ("set-cookie", "theme=dark")];
    let cookies = |reply: &crate::support::Reply| {
        let lines = reply.headers.get_all("set-cookie").iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let [(layer, clock), (gateway, its_clock)] = both();
    let app = validating(layer, clock, &[("cache-control", "max-age=10")], COOKIES).await;
    for asked in [&[][..], &[("if-none-match", "\"v1\"")], &[("range", "bytes=0-1")]] {
        let reply = get_with(&app, "/", &[&[("cache-control", "no-cache")], asked].concat()).await;
        assert_eq!(cookies(&reply), ["session=new", "theme=dark"], "{asked:?}");
        let hit = get(&app, "/").await;
        assert_eq!((hit.x_cache(), cookies(&hit)), ("HIT", vec![]));
    }
    const WITHHELD: &[(&str, &str)] = &[("cache-control", "max-age=10, no-cache=\"set-cookie\"")];
    let app = validating(gateway, its_clock, WITHHELD, COOKIES).await;
    assert_eq!(cookies(&get(&app, "/").await), ["session=new", "theme=dark"]);
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), cookies(&hit)), ("HIT", vec![]));
}

#[tokio::test]
async fn the_fields_of_a_304_for_one_user_reach_that_one_where_nothing_may_be_stored_any_more() {
    const OWN: &[(&str, &str)] = &[
        ("cache-control", "private"),
        ("set-cookie", "session=new"),
        ("x-user", "ben"),
    ];
    for (layer, clock) in both() {
        let app = validating(layer, clock, &[("cache-control", "max-age=10")], OWN).await;
        let reply = get(&app, "/").await;
        assert_eq!(
            (reply.header("set-cookie"), reply.header("x-user")),
            ("session=new", "ben")
        );
        assert_eq!(get(&app, "/").await.header("x-user"), "");
    }
}

#[tokio::test]
async fn without_time_to_be_kept_for_validation_a_stale_copy_is_gone() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder().clock(clock.clone()).build();
    let cache = Cache::builder(backend).clock(clock.clone()).build();
    let mut policy = cache_axum::cache_http::Policy::shared();
    policy.keep_for_validation = 5 * SECOND;
    policy.stale_if_disconnected = None;
    let (app, _) = app(
        CacheLayer::shared(cache).policy_with(|old| *old = policy),
        |call, request| {
            assert_eq!(request.headers.contains_key("if-none-match"), call == 2);
            with(
                StatusCode::OK,
                &[("cache-control", "max-age=10"), ("etag", "\"v1\"")],
                "…",
            )
        },
    );
    get(&app, "/").await;
    clock.advance(14 * SECOND);
    get(&app, "/").await;
    clock.advance(16 * SECOND);
    assert_eq!(get(&app, "/").await.cache_status(), "cache; fwd=uri-miss; stored");
}
