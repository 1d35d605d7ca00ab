//! Invalidation: by a write, from a handler, by a layer, and while the response is being generated.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{app, cache, get, idle, layer, request, send};
use axum::Router;
use axum::routing::{get as get_route, put};
use cache_axum::{CacheHandle, CacheLayer, InvalidateLayer, StoreFor};
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;

#[tokio::test]
async fn a_write_that_succeeds_invalidates_its_url() {
    for (status, gone) in [(200, true), (204, true), (303, true), (404, false), (500, false)] {
        let (app, _) = app(layer(), move |call, parts| {
            let status = if parts.method == Method::GET { 200 } else { status };
            (StatusCode::from_u16(status).unwrap(), call.to_string())
        });
        for url in ["/items/1", "/items/2"] {
            get(&app, url).await;
        }
        send(&app, request(Method::PUT, "/items/1", &[])).await;
        assert_eq!(
            get(&app, "/items/1").await.x_cache(),
            if gone { "MISS" } else { "HIT" },
            "{status}"
        );
        assert_eq!(get(&app, "/items/2").await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn location_is_invalidated_too_and_safe_methods_change_nothing() {
    let (app, _) = app(layer(), |call, parts| {
        let location = if parts.method == Method::POST { "/items/7" } else { "" };
        ([("location", location)], call.to_string())
    });
    get(&app, "/items/7").await;
    send(&app, request(Method::OPTIONS, "/items/7", &[])).await;
    assert_eq!(get(&app, "/items/7").await.x_cache(), "HIT");
    send(&app, request(Method::POST, "/items", &[])).await;
    assert_eq!(get(&app, "/items/7").await.x_cache(), "MISS");
}

#[tokio::test]
async fn it_can_be_left_to_the_handlers() {
    let (app, _) = app(layer().invalidate_on_write(false), |call, _| call.to_string());
    get(&app, "/").await;
    send(&app, request(Method::PUT, "/", &[])).await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn another_host_is_another_url() {
    let (app, _) = app(layer(), |call, _| call.to_string());
    get(&app, "/").await;
    let mut elsewhere = request(Method::PUT, "http://other/", &[]);
    elsewhere
        .headers_mut()
        .insert("host", HeaderValue::from_static("other"));
    send(&app, elsewhere).await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    send(&app, request(Method::PUT, "http://TEST/", &[])).await;
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_handler_learns_how_many_records_were_removed() {
    async fn write(cache: CacheHandle) -> String {
        let numbers = [
            cache.invalidate_url("/page").await.unwrap(),
            // It is gone by now.
            cache.invalidate_url("/page").await.unwrap(),
            cache.invalidate_target().await.unwrap(),
            cache.invalidate_key("GET test/other").await.unwrap(),
            cache.soft().invalidate_url("/kept").await.unwrap(),
        ];
        format!("{numbers:?}")
    }
    let page = || async { ([("vary", "accept-language")], "…") };
    let app = Router::new()
        .route("/page", get_route(page))
        .route("/other", get_route(|| async { "…" }))
        .route("/kept", get_route(|| async { "…" }))
        .route("/writes", get_route(|| async { "…" }).put(write))
        .layer(layer());
    for url in ["/other", "/kept", "/writes"] {
        get(&app, url).await;
    }
    for language in ["de", "en", "fr"] {
        let asked = request(Method::GET, "/page", &[("accept-language", language)]);
        assert_eq!(send(&app, asked).await.x_cache(), "MISS");
    }
    let reply = send(&app, request(Method::PUT, "/writes", &[])).await;
    assert_eq!(reply.text(), "[Some(1), Some(0), Some(1), Some(1), None]");
    for url in ["/page", "/other"] {
        assert_eq!(get(&app, url).await.x_cache(), "MISS", "{url}");
    }
}

#[tokio::test]
async fn a_handler_invalidates_urls_keys_and_namespaces() {
    let write = |cache: CacheHandle| async move {
        cache.invalidate_url("/a?x=1&y=2").await.unwrap();
        cache.invalidate_target().await.unwrap();
        assert!(cache.invalidate_url("no url at all").await.is_err());
        cache.clear("lists").await.unwrap().unwrap().to_string()
    };
    let calls = crate::support::Calls::default();
    let counted = move || {
        let call = calls.add();
        async move { call.to_string() }
    };
    let listed = || async { (StoreFor::as_usual().namespace("lists"), "…") };
    let app = Router::new()
        .route("/a", get_route(counted.clone()).put(write))
        .route("/other", get_route(counted.clone()))
        .route("/list", get_route(listed))
        .layer(layer().invalidate_on_write(false));
    let urls = ["/a?y=2&x=1", "/a", "/other", "/list?page=1", "/list?page=2"];
    for url in urls {
        assert_eq!(get(&app, url).await.x_cache(), "MISS");
        if url.starts_with("/list") {
            // The first answer tells of its namespace, and the second is the first that is stored there.
            assert_eq!(get(&app, url).await.x_cache(), "MISS");
        }
        assert_eq!(get(&app, url).await.x_cache(), "HIT");
    }
    let cleared = send(&app, request(Method::PUT, "/a", &[])).await;
    assert_eq!((cleared.status, cleared.text()), (StatusCode::OK, "2"));
    let mut after = Vec::new();
    for url in urls {
        after.push(get(&app, url).await.x_cache().to_owned());
    }
    assert_eq!(after, ["MISS", "MISS", "HIT", "MISS", "MISS"]);
}

#[tokio::test]
async fn a_nested_router_has_whole_paths() {
    let inner = || Router::new().route("/{id}", get_route(|| async { "…" }).put(|| async {}));
    let app = Router::new()
        .nest("/a", inner().layer(layer()))
        .nest("/b", inner().layer(layer()));
    let shared = layer();
    let shared_app = Router::new()
        .nest("/a", inner().layer(shared.clone()))
        .nest("/b", inner().layer(shared));
    for app in [app, shared_app] {
        assert_eq!(get(&app, "/a/1").await.x_cache(), "MISS");
        assert_eq!(get(&app, "/b/1").await.x_cache(), "MISS");
        send(&app, request(Method::PUT, "/a/1", &[])).await;
        assert_eq!(get(&app, "/a/1").await.x_cache(), "MISS");
        assert_eq!(get(&app, "/b/1").await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn a_handler_without_the_layer_is_told_so() {
    let app = Router::new().route("/", get_route(|_: CacheHandle| async {}));
    let reply = get(&app, "/").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(reply.text().contains("no `CacheLayer`"), "{}", reply.text());
}

#[tokio::test]
async fn a_layer_for_writes_invalidates_what_it_is_told() {
    let cached = layer();
    let invalidate = InvalidateLayer::new(&cached)
        .url("/items")
        .urls(|parts| vec![format!("/pages{}", parts.uri.path())])
        .namespace("lists");
    let listed = || async { (StoreFor::as_usual().namespace("lists"), "…") };
    let reads = Router::new()
        .route("/items", get_route(|| async { "…" }))
        .route("/pages/w/1", get_route(|| async { "…" }))
        .route("/other", get_route(|| async { "…" }))
        .route("/list", get_route(listed))
        .layer(cached);
    let app = reads.route(
        "/w/{status}",
        put(
            |axum::extract::Path(status): axum::extract::Path<u16>, _: CacheHandle| async move {
                StatusCode::from_u16(if status == 1 { 204 } else { status }).unwrap()
            },
        )
        .layer(invalidate),
    );
    let urls = ["/items", "/pages/w/1", "/list", "/other"];
    for url in urls {
        get(&app, url).await;
        get(&app, url).await;
    }
    send(&app, request(Method::PUT, "/w/400", &[])).await;
    for url in urls {
        assert_eq!(
            get(&app, url).await.x_cache(),
            "HIT",
            "a write that was refused changes nothing"
        );
    }
    // After a server error, nobody knows whether there was a write.
    for (path, status, page) in [("/w/1", 204, "MISS"), ("/w/500", 500, "HIT"), ("/w/503", 503, "HIT")] {
        assert_eq!(send(&app, request(Method::PUT, path, &[])).await.status, status);
        let mut after = Vec::new();
        for url in urls {
            after.push(get(&app, url).await.x_cache().to_owned());
        }
        assert_eq!(after, ["MISS", page, "MISS", "HIT"], "{path}");
    }
}

/// The value is read, and before the answer is made of it the value changes and the URL is invalidated.
async fn invalidated_during_the_load(vary: bool, listed: bool) {
    let (cache, _) = cache();
    let value = Arc::new(AtomicUsize::new(1));
    let gate = Arc::new(Semaphore::new(0));
    let (source, inner) = (Arc::clone(&value), Arc::clone(&gate));
    let handler = move || {
        let read = source.load(Ordering::SeqCst);
        let gate = Arc::clone(&inner);
        async move {
            let _permit = gate.acquire().await.unwrap();
            let vary = if vary { "accept" } else { "" };
            let store_for = StoreFor::as_usual();
            let store_for = if listed {
                store_for.namespace("lists")
            } else {
                store_for
            };
            (store_for, [("vary", vary)], read.to_string())
        }
    };
    let app = Router::new()
        .route("/", get_route(handler).delete(|| async {}))
        .layer(CacheLayer::new(cache));
    let ask = || {
        let app = app.clone();
        tokio::spawn(async move { get(&app, "/").await })
    };
    let (before, waiting) = (ask(), ask());
    idle().await;
    value.store(2, Ordering::SeqCst);
    send(&app, request(Method::DELETE, "/", &[])).await;
    let after = ask();
    idle().await;
    gate.add_permits(10);
    let old = before.await.unwrap();
    assert_eq!(
        (old.text(), old.cache_status()),
        ("1", "cache; fwd=uri-miss; detail=invalidated")
    );
    assert_eq!(
        after.await.unwrap().text(),
        "2",
        "who asks afterwards never gets the old value"
    );
    assert_eq!(
        waiting.await.unwrap().text(),
        "2",
        "nor does who had joined, since it looks again"
    );
    idle().await;
    assert_eq!(get(&app, "/").await.text(), "2", "and the old value is not stored");
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_load_that_began_before_is_not_stored() {
    invalidated_during_the_load(false, false).await;
    invalidated_during_the_load(true, false).await;
    invalidated_during_the_load(false, true).await;
}
