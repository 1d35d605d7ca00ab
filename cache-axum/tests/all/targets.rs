//! Targeted fields for this cache (RFC 9213) replace `Cache-Control`, and only if they are configured.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{app, cache, get, layer};
use cache_axum::CacheLayer;
use cache_axum::cache_http::CDN_CACHE_CONTROL;
use http::HeaderName;

const OURS: HeaderName = HeaderName::from_static("shop-cache-control");

/// The status of the second of two requests.
async fn second(layer: CacheLayer, headers: [(&'static str, &'static str); 2]) -> String {
    let (app, _) = app(layer, move |_, _| (headers, "…"));
    get(&app, "/").await;
    get(&app, "/").await.cache_status().to_owned()
}

#[tokio::test]
async fn the_first_target_that_is_there_decides() {
    let targeted = || layer().policy_with(|policy| policy.targets = vec![OURS, CDN_CACHE_CONTROL]);
    let ours = [
        ("cdn-cache-control", "max-age=20"),
        ("shop-cache-control", "max-age=30"),
    ];
    assert_eq!(second(targeted(), ours).await, "cache; hit; ttl=30");
    let cdn = [("cache-control", "no-store"), ("cdn-cache-control", "max-age=20")];
    assert_eq!(second(targeted(), cdn).await, "cache; hit; ttl=20");
    let forbidden = [("cache-control", "max-age=60"), ("shop-cache-control", "no-store")];
    assert_eq!(
        second(targeted(), forbidden).await,
        "cache; fwd=uri-miss; detail=no-store"
    );
}

#[tokio::test]
async fn a_target_that_cannot_be_read_does_not_count() {
    let broken = [("cache-control", "max-age=60"), ("shop-cache-control", "max-age=\"")];
    assert_eq!(
        second(layer().policy_with(|policy| policy.targets = vec![OURS]), broken).await,
        "cache; hit; ttl=60"
    );
}

#[tokio::test]
async fn a_route_obeys_none_unless_set_and_a_gateway_that_of_networks() {
    let headers = [("cache-control", "max-age=10"), ("cdn-cache-control", "max-age=20")];
    assert_eq!(second(layer(), headers).await, "cache; hit; ttl=10");
    assert_eq!(
        second(CacheLayer::shared(cache().0), headers).await,
        "cache; hit; ttl=20"
    );
}

#[tokio::test]
async fn clients_are_told_what_the_handler_tells_them() {
    let (app, _) = app(
        layer()
            .policy_with(|policy| policy.targets = vec![CDN_CACHE_CONTROL])
            .ttl(Duration::from_secs(5)),
        |_, _| {
            (
                [("cache-control", "no-store"), ("cdn-cache-control", "max-age=20")],
                "…",
            )
        },
    );
    for x_cache in ["MISS", "HIT"] {
        let reply = get(&app, "/").await;
        assert_eq!((reply.x_cache(), reply.header("cache-control")), (x_cache, "no-store"));
    }
}
