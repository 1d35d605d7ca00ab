//! Over HTTP/2, which has neither `Host` nor chunks, runs many requests on one connection, and rejects a 304 with
//! content.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;

use crate::support::{Bodies, Calls, Reply, layer};
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tower_http::compression::CompressionLayer;

const TEXT: &str =
    "A text that is long enough to be compressed, if somebody asks for that: compressed, compressed, compressed.";

/// A connection by prior knowledge to an application that is served by axum.
struct Client(SendRequest<Empty<Bytes>>);

impl Client {
    async fn of(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(client)
    }

    async fn open(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(url).version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .0
            .clone()
            .send_request(request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        response
    }

    async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Reply {
        let (parts, body) = self.open(method, url, headers).await.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, url, headers).await
    }
}

#[tokio::test]
async fn miss_hit_304_head_and_range() {
    let client = Client::of(Router::new().route("/", get(|| async { TEXT })).layer(layer())).await;
    let url = "http://shop.test/";
    let miss = client.get(url, &[]).await;
    let hit = client.get(url, &[]).await;
    assert_eq!((miss.x_cache(), miss.text()), ("MISS", TEXT));
    assert_eq!((hit.x_cache(), hit.text(), hit.header("age")), ("HIT", TEXT, "0"));
    let tag = hit.header("etag");
    assert_eq!(miss.header("etag"), tag);
    let unchanged = client.get(url, &[("if-none-match", tag)]).await;
    assert_eq!((unchanged.status, unchanged.text()), (StatusCode::NOT_MODIFIED, ""));
    // What a 200 would have, and not that of the 304 (RFC 9110, section 8.6).
    assert_eq!(unchanged.header("content-length"), TEXT.len().to_string());
    let head = client.send(Method::HEAD, url, &[]).await;
    assert_eq!((head.x_cache(), head.text()), ("HIT", ""));
    assert_eq!(head.header("content-length"), TEXT.len().to_string());
    let part = client.get(url, &[("range", "bytes=2-5")]).await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, &TEXT[2..6]));
}

#[tokio::test]
async fn hosts_are_told_apart_by_authority() {
    let calls = Calls::default();
    let counter = calls.clone();
    let handler = move || std::future::ready(counter.add().to_string());
    let client = Client::of(Router::new().route("/", get(handler)).layer(layer())).await;
    for (url, text) in [
        ("http://a.test/", "1"),
        ("http://b.test/", "2"),
        ("http://A.test/", "1"),
        ("http://b.test:81/", "3"),
    ] {
        assert_eq!(client.get(url, &[]).await.text(), text, "{url}");
    }
}

/// Both reach the handler, and it may go by either.
#[tokio::test]
async fn a_host_beside_the_authority_has_to_be_the_same() {
    let client = Client::of(Router::new().route("/", get(|| async { TEXT })).layer(layer())).await;
    let url = "http://shop.test/";
    let other = client.get(url, &[("host", "evil.test")]).await;
    assert_eq!(other.cache_status(), "cache; fwd=bypass; detail=no-key");
    assert_eq!(client.get(url, &[("host", "shop.test")]).await.x_cache(), "MISS");
    assert_eq!(client.get(url, &[]).await.x_cache(), "HIT");
}

/// Whoever asks over the other version of HTTP gets the same answer.
#[tokio::test]
async fn both_versions_share_what_is_stored() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/", get(|| async { TEXT })).layer(layer());
    let for_two = app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut one = TcpStream::connect(address).await.unwrap();
    one.write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    one.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("x-cache: MISS\r\n"), "{text}");
    let hit = Client::of(for_two).await.get("http://shop.test/", &[]).await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", TEXT));
    assert_eq!(hit.header("connection"), "");
}

#[tokio::test]
async fn one_connection_s_requests_share_a_load() {
    let calls = Calls::default();
    let counter = calls.clone();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let opened = std::sync::Arc::clone(&gate);
    let handler = move || {
        let (call, opened) = (counter.add(), std::sync::Arc::clone(&opened));
        async move {
            opened.acquire().await.unwrap().forget();
            call.to_string()
        }
    };
    let client = Client::of(Router::new().route("/", get(handler)).layer(layer())).await;
    let url = "http://shop.test/";
    let ask = || client.get(url, &[]);
    let all = futures_util::future::join_all((0..20).map(|_| ask()));
    let opening = async {
        while calls.count() == 0 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
    };
    let (replies, ()) = tokio::join!(all, opening);
    assert!(replies.iter().all(|reply| reply.text() == "1"));
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_is_a_broken_stream_and_not_stored() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let handler = move || std::future::ready(source.take());
    let client = Client::of(Router::new().route("/", get(handler)).layer(layer())).await;
    let pieces = bodies.push();
    pieces.send(Ok(Bytes::from_static(b"first"))).unwrap();
    let mut body = client.open(Method::GET, "http://shop.test/", &[]).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    pieces.send(Err(std::io::Error::other("gone"))).unwrap();
    assert!(body.collect().await.is_err());
    assert_eq!(client.get("http://shop.test/", &[]).await.text(), "none left");
}

/// With content, curl and others would break the stream off as faulty.
#[tokio::test]
async fn a_304_under_compression_has_no_content() {
    let fixed = get(|| async { TEXT });
    // Not there at once, and of unknown length: its answer begins before it is stored.
    let slow = get(|| async {
        let (pieces, body) = crate::support::streamed();
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            pieces.send(Ok(Bytes::from_static(TEXT.as_bytes())))
        });
        Ok::<_, Infallible>(([("etag", "\"mine\"")], body))
    });
    let app = Router::new()
        .route("/fixed", fixed)
        .route("/slow", slow)
        .layer(layer())
        .layer(CompressionLayer::new());
    let client = Client::of(app).await;
    let tag = client
        .get("http://shop.test/fixed", &[])
        .await
        .header("etag")
        .to_owned();
    for (url, tag) in [
        ("http://shop.test/slow", "\"mine\""),
        ("http://shop.test/slow", "\"mine\""),
        ("http://shop.test/fixed", &tag),
    ] {
        let fields = [("accept-encoding", "gzip"), ("if-none-match", tag)];
        let response = client.open(Method::GET, url, &fields).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(response.headers().get("content-encoding"), None);
        // The stream ends with the head: not even an empty frame follows.
        assert!(http_body::Body::is_end_stream(response.body()), "{url}");
    }
    let whole = client
        .get("http://shop.test/fixed", &[("accept-encoding", "gzip")])
        .await;
    assert_eq!((whole.header("content-encoding"), whole.x_cache()), ("gzip", "HIT"));
}
