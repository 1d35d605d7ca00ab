//! What clients of the port see, and that the book shows it.

use axum::body::Body;
use axum::http::{Method, Request, Response};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

async fn ask(app: &Router, method: Method, path: &str, content: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    let request = request.body(Body::from(content.to_owned())).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

#[tokio::test]
async fn a_rename_reaches_the_item_and_the_lists() {
    let app = app(Cache::builder(MemoryBackend::default()).build());
    for path in ["/items", "/items?tag=light", "/items/1", "/items/2"] {
        assert_eq!(
            ask(&app, Method::GET, path, "").await.headers()["x-cache"],
            "MISS",
            "{path}"
        );
        assert_eq!(
            ask(&app, Method::GET, path, "").await.headers()["x-cache"],
            "HIT",
            "{path}"
        );
    }
    ask(&app, Method::PUT, "/items/1", r#"{"name": "lantern"}"#).await;
    for path in ["/items", "/items?tag=light", "/items/1"] {
        let response = ask(&app, Method::GET, path, "").await;
        assert_eq!(response.headers()["x-cache"], "MISS", "{path}");
        assert!(text(response).await.contains("lantern"), "{path}");
    }
    assert_eq!(ask(&app, Method::GET, "/items/2", "").await.headers()["x-cache"], "HIT");
}

#[tokio::test]
async fn a_price_is_the_same_again() {
    let app = app(Cache::builder(MemoryBackend::default()).build());
    for _ in 0..2 {
        assert_eq!(text(ask(&app, Method::GET, "/items/2/price", "").await).await, "1998");
    }
}

#[test]
fn the_book_shows_both() {
    let book = include_str!("../../../docs/from-fastapi-cache.md");
    let block = |start: &str| {
        let (_, rest) = book.split_once(start).unwrap();
        rest.split("```").next().unwrap()
    };
    assert_eq!(block("```python\n"), include_str!("../app.py"));
    let port = include_str!("main.rs");
    let (_, port) = port.split_once("unwrap_used)]\n\n").unwrap();
    let (port, _) = port.split_once("\n#[cfg(test)]").unwrap();
    assert_eq!(block("```rust,no_run\n"), port);
}
