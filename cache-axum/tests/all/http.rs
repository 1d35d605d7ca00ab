//! Over real HTTP: what a client on a socket receives.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{Bodies, layer};
use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn serve(app: Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn open(address: std::net::SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request}\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The whole answer as text, in lower case up to the body.
async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut answer = String::new();
    open(address, request).await.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn miss_hit_304_and_head() {
    let address = serve(Router::new().route("/", get_route(|| async { "hello" })).layer(layer())).await;
    let miss = ask(address, "GET / HTTP/1.1").await;
    assert!(
        miss.starts_with("HTTP/1.1 200 OK\r\n") && miss.ends_with("\r\n\r\nhello"),
        "{miss}"
    );
    assert!(
        miss.contains("x-cache: MISS\r\n") && miss.contains("content-length: 5\r\n"),
        "{miss}"
    );
    let hit = ask(address, "GET / HTTP/1.1").await;
    assert!(
        hit.contains("x-cache: HIT\r\n") && hit.contains("age: 0\r\n") && hit.ends_with("\r\n\r\nhello"),
        "{hit}"
    );
    let tag = "etag: \"8f21c6eeea2168b10364a0a711290bf9\"\r\n";
    assert!(miss.contains(tag) && hit.contains(tag));
    let unchanged = ask(
        address,
        "GET / HTTP/1.1\r\nif-none-match: \"8f21c6eeea2168b10364a0a711290bf9\"",
    )
    .await;
    assert!(
        unchanged.starts_with("HTTP/1.1 304 Not Modified\r\n") && unchanged.ends_with("\r\n\r\n"),
        "{unchanged}"
    );
    assert!(!unchanged.contains("content-length"), "{unchanged}");
    let head = ask(address, "HEAD / HTTP/1.1").await;
    assert!(
        head.contains("content-length: 5\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    // Not twice, though the server adds it where there is none.
    assert_eq!(hit.matches("date: ").count(), 1, "{hit}");
}

#[tokio::test]
async fn a_chunked_body_is_chunked_first_and_whole_afterwards() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let handler = move || std::future::ready(source.take());
    let address = serve(Router::new().route("/", get_route(handler)).layer(layer())).await;
    let pieces = bodies.push();
    let mut stream = open(address, "GET / HTTP/1.1").await;
    pieces.send(Ok(Bytes::from_static(b"first"))).unwrap();
    let mut seen = String::new();
    while !seen.contains("first") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "ended early: {seen}");
        seen.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(seen.contains("transfer-encoding: chunked\r\n"), "{seen}");
    pieces.send(Ok(Bytes::from_static(b" second"))).unwrap();
    drop(pieces);
    stream.read_to_string(&mut seen).await.unwrap();
    assert!(seen.ends_with("0\r\n\r\n"), "{seen}");
    let hit = ask(address, "GET / HTTP/1.1").await;
    assert!(
        hit.contains("content-length: 12\r\n") && hit.ends_with("\r\n\r\nfirst second"),
        "{hit}"
    );
    assert!(!hit.contains("chunked"), "{hit}");
}

#[tokio::test]
async fn a_body_that_breaks_ends_without_its_end() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let handler = move || std::future::ready(source.take());
    let address = serve(Router::new().route("/", get_route(handler)).layer(layer())).await;
    let pieces = bodies.push();
    pieces.send(Ok(Bytes::from_static(b"first"))).unwrap();
    let mut stream = open(address, "GET / HTTP/1.1").await;
    pieces.send(Err(std::io::Error::other("gone"))).unwrap();
    let mut seen = Vec::new();
    let _ = stream.read_to_end(&mut seen).await;
    assert!(!String::from_utf8(seen).unwrap().ends_with("0\r\n\r\n"));
    assert!(ask(address, "GET / HTTP/1.1").await.ends_with("\r\n\r\nnone left"));
}

#[tokio::test]
async fn uploads_pass_through() {
    let echo = |body: Body| std::future::ready(body);
    let address = serve(Router::new().route("/", axum::routing::put(echo)).layer(layer())).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "PUT / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 4\r\n\r\ndata";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains("x-cache: BYPASS\r\n") && answer.contains("data"),
        "{answer}"
    );
}
