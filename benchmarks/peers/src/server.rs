//! What the HTTP servers have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use axum::serve::ListenerExt;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;

/// What every server answers.
pub const PATHS: [&str; 3] = ["/1k", "/4k", "/64k"];

/// Returns the type and the body of a path's response.
#[must_use]
pub fn content(path: &str) -> (HeaderValue, Bytes) {
    let text = HeaderValue::from_static("text/plain");
    match path {
        "/1k" => (text, Bytes::from(vec![b'x'; 1024])),
        "/4k" => (HeaderValue::from_static("application/json"), crate::objects()),
        _ => (text, Bytes::from(vec![b'x'; 64 * 1024])),
    }
}

/// The route without a cache: a response that is ready, and only cloned.
fn route(path: &str) -> MethodRouter {
    let (content_type, body) = content(path);
    get(async move || {
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    })
}

/// Returns all routes, each of them with a cache around it.
pub fn routes(around: impl Fn(MethodRouter) -> MethodRouter) -> Router {
    let calls = Arc::new(AtomicU64::new(0));
    let check = get(async move || calls.fetch_add(1, Ordering::Relaxed).to_string());
    PATHS
        .iter()
        .fold(Router::new().route("/check", around(check)), |router, path| {
            router.route(path, around(route(path)))
        })
}

/// Serves on a port of this machine, for ever.
pub async fn serve(router: Router, port: &str) {
    let port = port.parse().expect("a port is a number");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    axum::serve(listener, router).await.unwrap();
}
