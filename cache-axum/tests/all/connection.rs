//! Gateways remove the fields that `Connection` names from a request, after the cache has read them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{Calls, app, cache, get_with, layer};
use axum::Router;
use cache_axum::CacheLayer;
use cache_axum::cache_http::remove_hop_by_hop;

/// An origin behind a gateway: it answers in the language and for the site that reach it.
fn gateway(layer: CacheLayer) -> (Router, Calls) {
    app(layer, |_, mut parts| {
        remove_hop_by_hop(&mut parts.headers);
        let said = |name: &str| parts.headers.get(name).map_or("none", |value| value.to_str().unwrap());
        let text = format!("{} {}", said("host"), said("accept-language"));
        ([("cache-control", "max-age=60"), ("vary", "accept-language")], text)
    })
}

#[tokio::test]
async fn a_request_cannot_take_from_the_origin_what_its_answer_is_stored_by() {
    for layer in [layer(), CacheLayer::shared(cache().0)] {
        let (app, _) = gateway(layer);
        for connection in [
            "accept-language",
            "keep-alive, Accept-Language",
            "close,host",
            "x-unknown",
        ] {
            let poison = [("accept-language", "de"), ("connection", connection)];
            let reply = get_with(&app, "/", &poison).await;
            assert_eq!(
                reply.cache_status(),
                "cache; fwd=bypass; detail=connection",
                "{connection}"
            );
        }
        let two = [
            ("accept-language", "de"),
            ("connection", "close"),
            ("connection", "accept-language"),
        ];
        assert_eq!(get_with(&app, "/", &two).await.x_cache(), "BYPASS");
        for x_cache in ["MISS", "HIT"] {
            let reply = get_with(&app, "/", &[("accept-language", "de")]).await;
            assert_eq!((reply.x_cache(), reply.text()), (x_cache, "test de"));
        }
    }
}

#[tokio::test]
async fn what_belongs_to_the_connection_makes_no_difference() {
    let (app, calls) = gateway(CacheLayer::shared(cache().0));
    for connection in [
        "keep-alive",
        "close",
        "TE, Keep-Alive",
        "close, , trailer",
        "proxy-connection",
    ] {
        let reply = get_with(&app, "/", &[("connection", connection)]).await;
        assert_eq!(reply.text(), "test none", "{connection}");
    }
    assert_eq!(calls.count(), 1);
}
