//! A URI that was rewritten between two routers: the key is that of the request that the handler sees.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{get_with, layer, request, send};
use axum::Router;
use axum::extract::{OriginalUri, Path, Request};
use axum::routing::get as get_route;
use cache_axum::CacheHandle;
use http::{Method, Uri};
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;

/// The app behind a router that rewrites the URI of each request by its tenant.
fn rewritten(inner: Router, rewrite: fn(&str, &Uri) -> String) -> Router {
    let rewriting = MapRequestLayer::new(move |mut request: Request| {
        if let Some(tenant) = request.headers().get("x-tenant") {
            let uri = rewrite(tenant.to_str().unwrap(), request.uri());
            *request.uri_mut() = uri.parse().unwrap();
        }
        request
    });
    Router::new().fallback_service(ServiceBuilder::new().layer(rewriting).service(inner))
}

fn echo() -> Router {
    let handler = |request: Request| async move { request.uri().to_string() };
    Router::new().fallback(handler).layer(layer())
}

/// Asks for one URL as two tenants, twice, and as nobody.
async fn each_tenant_has_its_own(app: &Router, url: &str, expected: [&str; 2]) {
    for x_cache in ["MISS", "HIT"] {
        for (tenant, text) in ["a", "b"].iter().zip(expected) {
            let reply = get_with(app, url, &[("x-tenant", tenant)]).await;
            assert_eq!((reply.text(), reply.x_cache()), (text, x_cache), "{tenant}");
        }
    }
}

#[tokio::test]
async fn a_prefix_that_is_added_is_in_the_key() {
    let app = rewritten(echo(), |tenant, uri| format!("/{tenant}{uri}"));
    each_tenant_has_its_own(&app, "/report", ["/a/report", "/b/report"]).await;
}

#[tokio::test]
async fn a_query_that_is_added_is_in_the_key() {
    let app = rewritten(echo(), |tenant, uri| format!("{uri}?tenant={tenant}"));
    each_tenant_has_its_own(&app, "/report", ["/report?tenant=a", "/report?tenant=b"]).await;
    let app = rewritten(echo(), |tenant, uri| format!("{uri}&tenant={tenant}"));
    let expected = ["/report?page=1&tenant=a", "/report?page=1&tenant=b"];
    each_tenant_has_its_own(&app, "/report?page=1", expected).await;
}

#[tokio::test]
async fn a_path_that_is_shortened_is_in_the_key() {
    let app = rewritten(echo(), |tenant, _| {
        if tenant == "a" { "/b/report" } else { "/report" }.to_owned()
    });
    each_tenant_has_its_own(&app, "/a/b/report", ["/b/report", "/report"]).await;
}

#[tokio::test]
async fn an_authority_that_is_changed_is_in_the_key() {
    let app = rewritten(echo(), |tenant, uri| {
        format!("http://test:{}{uri}", if tenant == "a" { 1 } else { 2 })
    });
    each_tenant_has_its_own(&app, "/", ["http://test:1/", "http://test:2/"]).await;
}

#[tokio::test]
async fn what_a_nested_router_takes_off_a_rewritten_path_is_in_the_key() {
    let handler = |Path(tenant): Path<String>| async move { tenant };
    let nested = Router::new().route("/report", get_route(handler)).layer(layer());
    let app = rewritten(Router::new().nest("/{tenant}", nested), |tenant, uri| {
        format!("/{tenant}{uri}")
    });
    each_tenant_has_its_own(&app, "/report", ["a", "b"]).await;
}

/// The control: nesting alone, however deep, leaves the key as it is without it.
#[tokio::test]
async fn nesting_alone_keeps_the_whole_path() {
    let routes = || {
        let handler = |OriginalUri(uri): OriginalUri| async move { uri.to_string() };
        Router::new().route("/items/{id}", get_route(handler))
    };
    let layer = layer();
    let nested = Router::new().nest("/{version}", Router::new().nest("/shop", routes().layer(layer.clone())));
    let around = Router::new()
        .nest("/{version}", Router::new().nest("/shop", routes()))
        .layer(layer);
    assert_eq!(get_with(&nested, "/v1/shop/items/1?a=b", &[]).await.x_cache(), "MISS");
    assert_eq!(get_with(&around, "/v1/shop/items/1?a=b", &[]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn invalidations_reach_what_was_rewritten_alike() {
    let write = async |request: Request| {
        let path = request.headers().get("x-path").unwrap().to_str().unwrap().to_owned();
        let (mut parts, _) = request.into_parts();
        let cache = <CacheHandle as axum::extract::FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        cache.unwrap().invalidate_url(&path).await.unwrap();
    };
    let handler = |request: Request| async move { request.uri().to_string() };
    let inner = Router::new()
        .route("/{tenant}/writes", axum::routing::post(write))
        .fallback(handler)
        .layer(layer());
    let app = rewritten(inner, |tenant, uri| format!("/{tenant}{uri}"));
    let (a, b) = ([("x-tenant", "a")], [("x-tenant", "b")]);
    // By the client's URL, by what the handler sees, and by a write to the URL itself.
    for (method, url, path) in [
        (Method::POST, "/writes", "/items/1"),
        (Method::POST, "/writes", "/a/items/1"),
        (Method::PUT, "/items/1", "/"),
    ] {
        for headers in [&a, &b] {
            get_with(&app, "/items/1", headers).await;
            assert_eq!(get_with(&app, "/items/1", headers).await.x_cache(), "HIT");
        }
        send(&app, request(method, url, &[("x-tenant", "a"), ("x-path", path)])).await;
        assert_eq!(get_with(&app, "/items/1", &a).await.x_cache(), "MISS", "{path}");
        assert_eq!(get_with(&app, "/items/1", &b).await.x_cache(), "HIT", "{path}");
    }
}
