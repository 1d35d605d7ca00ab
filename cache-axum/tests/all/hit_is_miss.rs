//! A hit equals the miss: the status, the headers in their order and with duplicates, and the body.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Reply, app, cache, get, get_with, layer, request, send};
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get as get_route;
use bytes::Bytes;
use cache_axum::{CacheLayer, ClientCaching};
use http::Method;
use proptest::prelude::*;

const OF_THE_CACHE: [&str; 3] = ["age", "x-cache", "cache-status"];

fn lines(reply: &Reply) -> Vec<(String, String)> {
    let mut lines = reply.header_lines();
    lines.retain(|(name, _)| !OF_THE_CACHE.contains(&&**name));
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn byte_for_byte(
        status in prop::sample::select(vec![200_u16, 201, 203, 204, 299]),
        headers in prop::collection::vec(("x-[a-c]", "[ -~]{0,8}"), 0..8),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let body = if status == 204 { Vec::new() } else { body };
            let (app, calls) = app(layer(), move |_, _| {
                let mut response = Response::builder().status(status);
                for (name, value) in &headers {
                    response = response.header(name, value.trim());
                }
                response.body(Body::from(body.clone())).unwrap()
            });
            let miss = get(&app, "/").await;
            let hit = get(&app, "/").await;
            assert_eq!((miss.x_cache(), hit.x_cache(), calls.count()), ("MISS", "HIT", 1));
            assert_eq!((miss.status, &miss.body), (hit.status, &hit.body));
            assert_eq!(lines(&miss), lines(&hit));
            let head = send(&app, request(Method::HEAD, "/", &[])).await;
            assert_eq!((head.status, lines(&head), head.body.len()), (hit.status, lines(&hit), 0));
        });
    }
}

#[tokio::test]
async fn the_body_is_neither_copied_nor_decoded() {
    static BODY: &[u8] = &[7; 64 * 1024];
    let (app, _) = app(layer(), |_, _| Bytes::from_static(BODY));
    get(&app, "/").await;
    let hit = get(&app, "/").await;
    assert_eq!(hit.x_cache(), "HIT");
    assert_eq!(hit.body.as_ptr(), BODY.as_ptr());
}

#[tokio::test]
async fn a_validator_is_there_from_the_first_answer_on() {
    let (app, _) = app(layer(), |_, _| "hello");
    let miss = get(&app, "/").await;
    assert_eq!(miss.header("etag"), "\"8f21c6eeea2168b10364a0a711290bf9\"");
    assert_eq!(miss.header("content-length"), "5");
}

#[tokio::test]
async fn the_handlers_validator_stays() {
    let (app, _) = app(layer(), |_, _| ([("etag", "W/\"7\"")], "hello"));
    for _ in 0..2 {
        assert_eq!(get(&app, "/").await.header("etag"), "W/\"7\"");
    }
}

#[tokio::test]
async fn fields_of_one_connection_are_not_stored() {
    let (app, _) = app(layer(), |_, _| {
        (
            [
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("x-end", "2"),
            ],
            "…",
        )
    });
    for _ in 0..2 {
        let reply = get(&app, "/").await;
        assert_eq!(
            (reply.header("x-hop"), reply.header("keep-alive"), reply.header("x-end")),
            ("", "", "2")
        );
    }
}

#[tokio::test]
async fn age_grows_and_max_age_is_the_lifetime_of_the_stored_copy() {
    let (cache, clock) = cache();
    let (app, _) = app(CacheLayer::new(cache).ttl(Duration::from_secs(60)), |_, _| "…");
    let miss = get(&app, "/").await;
    assert_eq!((miss.header("age"), miss.header("cache-control")), ("", "max-age=60"));
    clock.advance(Duration::from_secs(7));
    let hit = get(&app, "/").await;
    // A client subtracts the one from the other (RFC 9111, section 4.2.3).
    assert_eq!((hit.header("age"), hit.header("cache-control")), ("7", "max-age=60"));
    assert_eq!(hit.cache_status(), "cache; hit; ttl=53");
    clock.advance(Duration::from_secs(53));
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn max_age_counts_down_without_age_for_clients_that_do_not_know_it() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache).ttl(Duration::from_secs(60));
    let (app, _) = app(layer.client_caching(ClientCaching::Remaining), |_, _| "…");
    get(&app, "/").await;
    clock.advance(Duration::from_secs(7));
    let hit = get(&app, "/").await;
    assert_eq!((hit.header("age"), hit.header("cache-control")), ("", "max-age=53"));
}

#[tokio::test]
async fn what_is_not_stored_has_no_lifetime_from_the_layer() {
    let (cache, _) = cache();
    let layer = CacheLayer::new(cache).ttl(Duration::from_secs(60)).max_variants(0);
    let (app, _) = app(layer, |_, request| match request.uri.path() {
        "/" => ([("vary", "accept")], "…").into_response(),
        _ => "…".into_response(),
    });
    let kept = get(&app, "/kept").await;
    assert_eq!(kept.header("cache-control"), "max-age=60");
    let surplus = get_with(&app, "/", &[("accept", "b")]).await;
    assert!(
        surplus.cache_status().ends_with("detail=too-many-variants"),
        "{}",
        surplus.cache_status()
    );
    assert_eq!(surplus.header("cache-control"), "");
}

#[tokio::test]
async fn what_the_handler_tells_clients_goes_out_as_it_is() {
    let (cache, clock) = cache();
    let (app, calls) = app(CacheLayer::new(cache).ttl(Duration::from_secs(60)), |_, _| {
        ([("cache-control", "max-age=10, public")], "…")
    });
    get(&app, "/").await;
    clock.advance(Duration::from_secs(9));
    let hit = get(&app, "/").await;
    assert_eq!(
        (hit.header("age"), hit.header("cache-control")),
        ("9", "max-age=10, public")
    );
    // And it wins over the route's 60 seconds.
    clock.advance(Duration::from_secs(1));
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn clients_can_be_told_something_else() {
    for (client, expected) in [
        (ClientCaching::MaxAge(Duration::from_secs(5)), "max-age=5"),
        (ClientCaching::Revalidate, "no-cache"),
        (ClientCaching::Silent, ""),
    ] {
        let (app, _) = app(layer().client_caching(client), |_, _| "…");
        for x_cache in ["MISS", "HIT"] {
            let reply = get(&app, "/").await;
            assert_eq!((reply.x_cache(), reply.header("cache-control")), (x_cache, expected));
        }
    }
}

#[tokio::test]
async fn it_wraps_routers_routes_and_method_routers() {
    let handler = || async { "…" };
    for app in [
        Router::new().route("/", get_route(handler)).layer(layer()),
        Router::new().route("/", get_route(handler)).route_layer(layer()),
        Router::new().route("/", get_route(handler).layer(layer())),
        Router::new().route("/", get_route(handler).route_layer(layer())),
        Router::new().fallback(handler).layer(layer()),
    ] {
        assert_eq!(get(&app, "/").await.x_cache(), "MISS");
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    }
}
