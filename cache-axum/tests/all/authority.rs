//! Requests that name their host twice: in the URI and in `Host`. A handler may read either.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Calls, app, cache, layer, send};
use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use cache_axum::{CacheHandle, CacheLayer};
use http::{Method, Request, StatusCode};
use tracing_subscriber::layer::SubscriberExt;

const NO_KEY: &str = "cache; fwd=bypass; detail=no-key";

fn asked(method: Method, uri: &str, hosts: &[&str]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for host in hosts {
        request = request.header("host", *host);
    }
    request.body(Body::empty()).unwrap()
}

/// Answers that link to the host that the request says it is for.
fn linking(layer: CacheLayer) -> (Router, Calls) {
    app(layer, |_, parts| {
        let host = parts.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
        let headers = [("cache-control", "max-age=60")];
        (headers, format!("https://{}/login", host.unwrap_or_default()))
    })
}

#[tokio::test]
async fn a_host_that_is_not_that_of_the_uri_poisons_nobody() {
    for layer in [layer(), CacheLayer::shared(cache().0)] {
        let (app, _) = linking(layer);
        for hosts in [
            &["evil.test"][..],
            &["shop.test", "evil.test"],
            &["evil.test", "shop.test"],
        ] {
            for method in [Method::GET, Method::HEAD] {
                let reply = send(&app, asked(method, "http://shop.test/", hosts)).await;
                assert_eq!(reply.cache_status(), NO_KEY, "{hosts:?}");
            }
        }
        let reply = send(&app, asked(Method::GET, "/", &["shop.test"])).await;
        assert_eq!((reply.x_cache(), reply.text()), ("MISS", "https://shop.test/login"));
        let reply = send(&app, asked(Method::GET, "http://shop.test/", &["evil.test"])).await;
        assert_eq!((reply.x_cache(), reply.text()), ("BYPASS", "https://evil.test/login"));
    }
}

#[tokio::test]
async fn one_that_is_the_same_makes_no_difference() {
    let (app, calls) = linking(layer());
    for (uri, hosts) in [
        ("/", &["shop.test:81"][..]),
        ("http://shop.test:81/", &["shop.test:81"]),
        ("http://shop.test:81/", &[]),
        ("http://Shop.test:81/", &["SHOP.test:81"]),
    ] {
        let reply = send(&app, asked(Method::GET, uri, hosts)).await;
        assert_eq!(reply.text(), "https://shop.test:81/login", "{uri} {hosts:?}");
    }
    assert_eq!(calls.count(), 1);
    for (uri, host) in [
        ("http://shop.test:81/", "shop.test"),
        ("http://a@shop.test:81/", "shop.test:81"),
    ] {
        let reply = send(&app, asked(Method::GET, uri, &[host])).await;
        assert_eq!(reply.cache_status(), NO_KEY, "{uri} {host}");
    }
}

/// A page and a list, and a write to either that invalidates the other one by a path and by a whole URL.
fn shop() -> Router {
    let write = |cache: CacheHandle| async move {
        cache.invalidate_url("/list").await.unwrap();
        cache.invalidate_url("http://other.test/list").await.unwrap();
        StatusCode::NO_CONTENT
    };
    Router::new()
        .route("/page", get_route(|| async { "…" }).put(write))
        .route("/list", get_route(|| async { "…" }))
        .layer(layer())
}

#[tokio::test]
async fn a_write_reaches_what_is_stored_for_its_host_however_it_names_that() {
    for (uri, hosts) in [
        ("/page", &["shop.test"][..]),
        ("http://shop.test/page", &[]),
        ("http://shop.test/page", &["shop.test"]),
        // By its URI (RFC 9112, section 3.2.2).
        ("http://shop.test/page", &["evil.test"]),
    ] {
        let app = shop();
        let reads = [("/page", "shop.test"), ("/list", "shop.test"), ("/list", "other.test")];
        for (path, host) in reads {
            send(&app, asked(Method::GET, path, &[host])).await;
            assert_eq!(send(&app, asked(Method::GET, path, &[host])).await.x_cache(), "HIT");
        }
        let written = send(&app, asked(Method::PUT, uri, hosts)).await;
        assert_eq!(
            (written.status, written.cache_status()),
            (StatusCode::NO_CONTENT, "cache; fwd=method"),
            "{uri} {hosts:?}"
        );
        for (path, host) in reads {
            let reply = send(&app, asked(Method::GET, path, &[host])).await;
            assert_eq!(reply.x_cache(), "MISS", "{path} of {host} after {uri} {hosts:?}");
        }
    }
}

/// A handler may have used either host. Whoever sends two makes no operator look for a fault of the service.
#[tokio::test]
async fn a_write_that_names_two_hosts_reaches_what_is_stored_for_each() {
    for hosts in [["shop.test", "other.test"], ["other.test", "shop.test"]] {
        let (app, _) = linking(layer());
        for host in hosts {
            for path in ["/page", "/page?a=1"] {
                send(&app, asked(Method::GET, path, &[host])).await;
                assert_eq!(send(&app, asked(Method::GET, path, &[host])).await.x_cache(), "HIT");
            }
        }
        let errors = Errors::default();
        let subscriber = tracing_subscriber::registry().with(errors.clone());
        let guard = tracing::subscriber::set_default(subscriber);
        let written = send(&app, asked(Method::POST, "/page", &hosts)).await;
        drop(guard);
        assert_eq!(written.status, StatusCode::OK);
        assert_eq!(errors.0.load(Ordering::SeqCst), 0, "lines of level ERROR");
        for host in hosts {
            assert_eq!(send(&app, asked(Method::GET, "/page", &[host])).await.x_cache(), "MISS");
            let other = send(&app, asked(Method::GET, "/page?a=1", &[host])).await;
            assert_eq!(other.x_cache(), "HIT", "another URL");
        }
    }
}

/// Counts the lines of level `ERROR`.
#[derive(Clone, Default)]
struct Errors(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Errors {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::ERROR {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}
