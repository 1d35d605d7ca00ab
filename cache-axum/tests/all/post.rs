//! POST as an opt-in, with the content in the key.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{Calls, Reply, get, layer, reply, start};
use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use cache_axum::CacheLayer;
use http::{HeaderMap, Method, Request};

fn search(layer: CacheLayer) -> (Router, Calls) {
    let calls = Calls::default();
    let counter = calls.clone();
    let handler = move |headers: HeaderMap, content: Bytes| {
        let call = counter.add();
        async move {
            let media_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
            format!("{call} {media_type} {}", String::from_utf8_lossy(&content))
        }
    };
    let app = Router::new()
        .route("/", post(handler).get(|| async { "get" }))
        .layer(layer);
    (app, calls)
}

async fn ask(app: &Router, media_type: &str, content: impl Into<Body>) -> Reply {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .header("host", "test")
        .header("content-type", media_type);
    reply(start(app, request.body(content.into()).unwrap()).await).await
}

#[tokio::test]
async fn each_content_and_media_type_has_its_own_answer() {
    let (app, calls) = search(layer().post(1024));
    for x_cache in ["MISS", "HIT"] {
        for (media_type, content, text) in [
            ("text/plain", "a", "1 text/plain a"),
            ("text/plain", "b", "2 text/plain b"),
            ("text/html", "a", "3 text/html a"),
            ("text/plain", "", "4 text/plain "),
        ] {
            let reply = ask(&app, media_type, content).await;
            assert_eq!((reply.x_cache(), reply.text()), (x_cache, text));
        }
    }
    assert_eq!(get(&app, "/").await.text(), "get");
    assert_eq!(calls.count(), 4);
}

#[tokio::test]
async fn it_does_not_invalidate_the_url() {
    let (app, _) = search(layer().post(1024));
    get(&app, "/").await;
    ask(&app, "text/plain", "a").await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn larger_content_passes_by_intact() {
    let (app, calls) = search(layer().post(8));
    for content in ["012345678", "0123456789abcdef"] {
        for _ in 0..2 {
            // Known to be too large before it is read, and found out on the way.
            let reply = ask(&app, "", content).await;
            assert_eq!(reply.cache_status(), "cache; fwd=bypass; detail=request-too-large");
            assert!(reply.text().ends_with(&format!(" {content}")));
            let (pieces, body) = crate::support::streamed();
            for piece in content.as_bytes().chunks(3) {
                pieces.send(Ok(Bytes::copy_from_slice(piece))).unwrap();
            }
            drop(pieces);
            let reply = ask(&app, "", body).await;
            assert_eq!(reply.cache_status(), "cache; fwd=bypass; detail=request-too-large");
            assert!(reply.text().ends_with(&format!(" {content}")));
        }
    }
    assert_eq!(calls.count(), 8);
    let (pieces, body) = crate::support::streamed();
    pieces.send(Ok(Bytes::from_static(b"0123"))).unwrap();
    pieces.send(Ok(Bytes::from_static(b"4567"))).unwrap();
    drop(pieces);
    assert_eq!(ask(&app, "", body).await.text(), "9  01234567");
    assert_eq!(ask(&app, "", "01234567").await.x_cache(), "HIT");
}

#[tokio::test]
async fn without_the_option_it_passes_by() {
    let (app, calls) = search(layer());
    for _ in 0..2 {
        assert_eq!(ask(&app, "", "a").await.cache_status(), "cache; fwd=method");
    }
    assert_eq!(calls.count(), 2);
}
