//! The position of the layer in an application: a response belongs to the URL that the client requested, wherever
//! routers have stripped their part of the path.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::time::Duration;

use crate::support::{Calls, cache, get, layer, request, send};
use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request};
use axum::response::Response;
use axum::routing::get as get_route;
use cache_axum::cache_engine::cache_core::ManualClock;
use cache_axum::{CacheHandle, CacheLayer};
use http::{Method, StatusCode};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

/// Routes that say which call it was and what URL they have answered.
fn routes(calls: &Calls) -> Router {
    let counter = calls.clone();
    let answer = move |OriginalUri(uri): OriginalUri| std::future::ready(format!("{} {uri}", counter.add()));
    Router::new()
        .route("/", get_route(answer.clone()))
        .route("/items/{id}", get_route(answer).put(|| async {}))
}

/// Asks for each URL twice: its own answer first, and that again.
async fn each_has_its_own(app: &Router, urls: &[&str], calls: &Calls) {
    for x_cache in ["MISS", "HIT"] {
        for (number, url) in urls.iter().enumerate() {
            let reply = get(app, url).await;
            let expected = (format!("{} {url}", number + 1), x_cache);
            assert_eq!((reply.text().to_owned(), reply.x_cache()), expected);
        }
    }
    assert_eq!(calls.count(), urls.len());
}

#[tokio::test]
async fn routers_nested_under_different_paths_share_nothing() {
    let (calls, layer) = (Calls::default(), layer());
    let part = || routes(&calls).layer(layer.clone());
    let app = Router::new()
        .nest("/a", part())
        .nest("/b", Router::new().nest("/c", part()))
        .nest("/tenants/{tenant}", part())
        .merge(part());
    let urls = [
        "/a/items/1",
        "/b/c/items/1",
        "/tenants/x/items/1",
        "/tenants/y/items/1",
        "/items/1",
        "/a",
        "/",
    ];
    each_has_its_own(&app, &urls, &calls).await;
}

#[tokio::test]
async fn a_layer_around_it_all_and_one_on_a_nested_route_have_the_same_key() {
    let calls = Calls::default();
    let (cache, _) = cache();
    let layer = CacheLayer::new(cache).ttl(Duration::from_secs(60));
    let nested = Router::new().nest("/a", routes(&calls).layer(layer.clone()));
    let around = layer.layer(Router::new().nest("/a", routes(&calls)));
    assert_eq!(get(&nested, "/a/items/1").await.x_cache(), "MISS");
    let hit = around.oneshot(request(Method::GET, "/a/items/1", &[])).await.unwrap();
    assert_eq!(hit.headers()["x-cache"], "HIT");
}

#[tokio::test]
async fn a_write_to_a_nested_route_invalidates_its_own_url_alone() {
    let (calls, layer) = (Calls::default(), layer());
    let app = Router::new()
        .nest("/a", routes(&calls).layer(layer.clone()))
        .nest("/b", routes(&calls).layer(layer.clone()));
    get(&app, "/a/items/1").await;
    get(&app, "/b/items/1").await;
    send(&app, request(Method::PUT, "/a/items/1", &[])).await;
    assert_eq!(get(&app, "/a/items/1").await.x_cache(), "MISS");
    assert_eq!(get(&app, "/b/items/1").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_nested_handler_invalidates_by_the_whole_url() {
    let (calls, layer) = (Calls::default(), layer());
    let write = async |cache: CacheHandle| {
        cache.invalidate_url("/a/items/1").await.unwrap();
        StatusCode::NO_CONTENT
    };
    let part = routes(&calls).route("/writes", axum::routing::post(write));
    let app = Router::new().nest("/a", part.layer(layer));
    get(&app, "/a/items/1").await;
    assert_eq!(get(&app, "/a/items/1").await.x_cache(), "HIT");
    send(&app, request(Method::POST, "/a/writes", &[])).await;
    assert_eq!(get(&app, "/a/items/1").await.x_cache(), "MISS");
}

#[tokio::test]
async fn merged_routers_keep_their_own_layers() {
    let calls = Calls::default();
    let other = Router::new().route("/live", get_route(|| async { "…" }));
    let app = routes(&calls).layer(layer()).merge(other);
    get(&app, "/items/1").await;
    assert_eq!(get(&app, "/items/1").await.x_cache(), "HIT");
    assert_eq!(get(&app, "/live").await.x_cache(), "", "not behind the layer");
}

#[tokio::test]
async fn a_fallback_is_stored_by_its_url_and_its_status() {
    let calls = Calls::default();
    let counter = calls.clone();
    let fallback = move |request: Request| {
        let found = request.uri().path().starts_with("/found");
        let status = if found { StatusCode::OK } else { StatusCode::NOT_FOUND };
        std::future::ready((status, counter.add().to_string()))
    };
    let app = Router::new()
        .route("/", get_route(|| async { "home" }))
        .fallback(fallback)
        .layer(layer());
    for (url, text, x_cache) in [
        ("/found/1", "1", "MISS"),
        ("/found/1", "1", "HIT"),
        ("/found/2", "2", "MISS"),
        ("/lost", "3", "MISS"),
        ("/lost", "4", "MISS"),
        ("/", "home", "MISS"),
    ] {
        let reply = get(&app, url).await;
        assert_eq!((reply.text(), reply.x_cache()), (text, x_cache), "{url}");
    }
    let refused = send(&app, request(Method::DELETE, "/", &[])).await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, "GET,HEAD")
    );
}

/// A service that knows nothing of axum, as a fallback and under a path: it sees its own part of the path only.
#[tokio::test]
async fn services_are_stored_by_the_whole_url() {
    let calls = Calls::default();
    let counter = calls.clone();
    let service = service_fn(move |request: Request| {
        let text = format!("{} {}", counter.add(), request.uri());
        async move { Ok::<_, Infallible>(Response::new(Body::from(text))) }
    });
    let layer = layer();
    let app = Router::new()
        .nest_service("/a", layer.layer(service.clone()))
        .nest_service("/b", layer.layer(service.clone()))
        .route_service("/c/{id}", layer.layer(service.clone()))
        .fallback_service(layer.layer(service));
    for x_cache in ["MISS", "HIT"] {
        for (url, text) in [("/a/1", "1 /1"), ("/b/1", "2 /1"), ("/c/1", "3 /c/1"), ("/1", "4 /1")] {
            let reply = get(&app, url).await;
            assert_eq!((reply.text(), reply.x_cache()), (text, x_cache), "{url}");
        }
    }
}

/// By accident, or because a layer of a part has other settings than that of the whole.
mod a_layer_within_a_layer_of_the_same_cache {
    use super::*;

    fn app() -> (Router, Calls, ManualClock) {
        let ((cache, clock), calls) = (cache(), Calls::default());
        let layer = |ttl| {
            CacheLayer::new(cache.clone())
                .ttl(Duration::from_secs(ttl))
                .stale_while_revalidate(Duration::from_secs(60))
                .post(1024)
        };
        let part = routes(&calls).layer(layer(5));
        (Router::new().nest("/a", part).layer(layer(10)), calls, clock)
    }

    async fn soon(app: &Router, request: http::Request<Body>) -> crate::support::Reply {
        let asking = tokio::time::timeout(Duration::from_secs(5), send(app, request));
        asking.await.expect("an answer")
    }

    #[tokio::test]
    async fn does_not_wait_for_itself() {
        let (app, calls, _) = app();
        for x_cache in ["MISS", "HIT"] {
            let reply = soon(&app, request(Method::GET, "/a/items/1", &[])).await;
            assert_eq!((reply.text(), reply.x_cache()), ("1 /a/items/1", x_cache));
            // The outer one answers, by its own settings.
            assert_eq!(reply.header("cache-control"), "max-age=10");
        }
        let anew = soon(
            &app,
            request(Method::GET, "/a/items/1", &[("cache-control", "no-cache")]),
        )
        .await;
        assert_eq!((anew.text(), anew.x_cache()), ("2 /a/items/1", "MISS"));
        let head = soon(&app, request(Method::HEAD, "/a/items/1", &[])).await;
        assert_eq!(head.x_cache(), "HIT");
        let refused = soon(&app, request(Method::POST, "/a/items/1", &[])).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(calls.count(), 2);
    }

    #[tokio::test]
    async fn does_not_refresh_from_what_is_outdated() {
        let (app, _, clock) = app();
        let ask = || soon(&app, request(Method::GET, "/a/items/1", &[]));
        ask().await;
        clock.advance(Duration::from_secs(11));
        assert_eq!(ask().await.x_cache(), "STALE");
        crate::support::idle().await;
        let fresh = ask().await;
        assert_eq!((fresh.text(), fresh.x_cache()), ("2 /a/items/1", "HIT"));
    }
}

/// Layers within layers, each with a cache of its own, on the 2 MiB of stack that threads have. A load runs in a task of
/// its own once its caller waits, so what adds up is the way to the handler.
#[tokio::test]
async fn many_layers_fit_on_a_stack() {
    let calls = Calls::default();
    let mut app = routes(&calls);
    for _ in 0..16 {
        app = app.layer(layer());
    }
    assert_eq!(get(&app, "/").await.text(), "1 /");
    assert_eq!(get(&app, "/").await.text(), "1 /");
    // Past the stored copies, each layer revalidates or loads.
    let passed = send(&app, request(Method::GET, "/", &[("cache-control", "no-cache")])).await;
    assert_eq!(passed.text(), "2 /");
    send(&app, request(Method::PUT, "/items/1", &[])).await;
    send(&app, request(Method::HEAD, "/items/2", &[])).await;
}
