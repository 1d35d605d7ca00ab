//! `QUERY` (RFC 10008), as an opt-in.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{Calls, Reply, get, layer, send};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use cache_axum::CacheLayer;
use http::{HeaderMap, Method, Request, StatusCode};

/// Answers with the number of the call and the content of the request.
fn search(layer: CacheLayer) -> (Router, Calls) {
    let calls = Calls::default();
    let counter = calls.clone();
    let handler = move |method: Method, headers: HeaderMap, content: Bytes| {
        let call = counter.add();
        async move {
            let media_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
            format!("{call} {method} {media_type} {}", String::from_utf8_lossy(&content))
        }
    };
    (Router::new().fallback(handler).layer(layer), calls)
}

async fn query(app: &Router, headers: &[(&str, &str)], content: &'static str) -> Reply {
    let mut request = Request::builder().method("QUERY").uri("/search").header("host", "test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(app, request.body(Body::from(content)).unwrap()).await
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn url_content_media_type_and_coding_are_in_the_key() {
    let (app, calls) = search(layer().query_method(1024));
    for x_cache in ["MISS", "HIT"] {
        for (headers, content, text) in [
            (&[JSON][..], "a", "1 QUERY application/json a"),
            (&[JSON], "b", "2 QUERY application/json b"),
            (&[("content-type", "text/plain")], "a", "3 QUERY text/plain a"),
            (&[JSON, ("content-encoding", "gzip")], "a", "4 QUERY application/json a"),
            (&[JSON], "", "5 QUERY application/json "),
        ] {
            let reply = query(&app, headers, content).await;
            assert_eq!((reply.x_cache(), reply.text()), (x_cache, text));
        }
    }
    assert_eq!(calls.count(), 5);
}

#[tokio::test]
async fn it_is_not_cached_without_being_chosen() {
    for layer in [layer(), layer().post(1024)] {
        let (app, calls) = search(layer);
        for _ in 0..2 {
            let reply = query(&app, &[JSON], "a").await;
            assert_eq!(reply.cache_status(), "cache; fwd=method");
        }
        assert_eq!(calls.count(), 2);
    }
}

#[tokio::test]
async fn it_is_no_get_and_no_post_and_invalidates_neither() {
    let (app, _) = search(layer().query_method(1024).post(1024));
    let post = || {
        Request::post("/search")
            .header("host", "test")
            .body(Body::from("a"))
            .unwrap()
    };
    get(&app, "/search").await;
    send(&app, post()).await;
    assert_eq!(query(&app, &[], "a").await.x_cache(), "MISS");
    assert_eq!(get(&app, "/search").await.x_cache(), "HIT");
    assert_eq!(send(&app, post()).await.x_cache(), "HIT");
}

#[tokio::test]
async fn conditions_and_ranges_are_as_for_get() {
    let (app, calls) = search(layer().query_method(1024));
    let first = query(&app, &[JSON], "a").await;
    let tag = first.header("etag").to_owned();
    assert_eq!(first.header("cache-control"), "max-age=60");

    let same = query(&app, &[JSON, ("if-none-match", &tag)], "a").await;
    assert_eq!((same.status, same.text()), (StatusCode::NOT_MODIFIED, ""));
    assert!(
        same.cache_status().starts_with("cache; hit; ttl="),
        "{}",
        same.cache_status()
    );

    let part = query(&app, &[JSON, ("range", "bytes=0-0")], "a").await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "1"));
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn more_content_than_is_taken_passes_by_intact() {
    let (app, calls) = search(layer().query_method(4));
    for _ in 0..2 {
        let reply = query(&app, &[JSON], "12345").await;
        assert_eq!(reply.cache_status(), "cache; fwd=bypass; detail=request-too-large");
        assert!(reply.text().ends_with("12345"), "{}", reply.text());
    }
    assert_eq!(calls.count(), 2);
}

/// They are stored by their content, and a write does not know the contents (RFC 9111, section 4.4).
#[tokio::test]
async fn a_write_reaches_all_contents_of_its_url() {
    let (query, post) = ("QUERY", "POST");
    let ask = async |app: &Router, method: &str, uri: &str, content: &'static str| {
        let request = Request::builder().method(method).uri(uri).header("host", "test");
        send(app, request.body(Body::from(content)).unwrap()).await
    };
    let cached = || layer().query_method(16).post(16);
    for (layer, write, gone) in [
        (cached(), "PUT", true),
        (cached(), "DELETE", true),
        (layer().query_method(16), "POST", true),
        (cached().no_vary_search(true), "PUT", true),
        // A search that is too large for the layer changes nothing for the others.
        (cached(), "POST", false),
        (cached(), "GET", false),
    ] {
        let (app, _) = search(layer);
        let stored: &[_] = if write == "POST" && gone {
            &[query]
        } else {
            &[query, post]
        };
        for method in stored {
            for content in ["a", "b"] {
                for x_cache in ["MISS", "HIT"] {
                    assert_eq!(ask(&app, method, "/search", content).await.x_cache(), x_cache);
                }
            }
            ask(&app, method, "/other", "a").await;
        }
        ask(
            &app,
            write,
            "/%73earch",
            if write == "GET" { "" } else { "more than sixteen bytes" },
        )
        .await;
        for method in stored {
            let x_cache = if gone { "MISS" } else { "HIT" };
            for content in ["a", "b"] {
                assert_eq!(
                    ask(&app, method, "/search", content).await.x_cache(),
                    x_cache,
                    "{write} {method}"
                );
            }
            // The control.
            assert_eq!(
                ask(&app, method, "/other", "a").await.x_cache(),
                "HIT",
                "{write} {method}"
            );
        }
    }
}
