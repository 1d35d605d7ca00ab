//! What travels to the origin, and what does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};

use larder::axum::CacheLayer;
use larder::{Cache, MemoryBackend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An origin that answers every request and keeps what it was sent.
#[derive(Clone, Default)]
struct Origin(Arc<Mutex<Vec<String>>>);

impl Origin {
    async fn start() -> (Self, String) {
        let origin = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://user:secret@{}/", listener.local_addr().unwrap());
        let kept = origin.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(kept.clone().serve(stream));
            }
        });
        (origin, url)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            let is_whole = if text.contains("transfer-encoding: chunked") {
                text.ends_with("0\r\n\r\n")
            } else {
                text.ends_with("\r\n\r\n")
            };
            if is_whole {
                self.0.lock().unwrap().push(std::mem::take(&mut text));
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        }
    }

    fn received(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn layer() -> CacheLayer {
    CacheLayer::shared(Cache::builder(MemoryBackend::default()).build())
}

/// Sends bytes to a proxy in front of an origin. Returns the answer.
async fn send(url: &str, request: &str) -> String {
    let app = gateway::app(url, layer()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    server.abort();
    answer
}

#[tokio::test]
async fn connect_is_refused() {
    let (origin, url) = Origin::start().await;
    let request = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nConnection: close\r\n\r\n";
    assert!(send(&url, request).await.starts_with("HTTP/1.1 501 "));
    assert!(origin.received().is_empty());
}

#[tokio::test]
async fn trace_and_options_obey_max_forwards() {
    let (origin, url) = Origin::start().await;
    for method in ["TRACE", "OPTIONS"] {
        let request = |forwards: &str| {
            format!(
                "{method} /a?b HTTP/1.1\r\nHost: example.com\r\n{forwards}Cookie: secret\r\nAuthorization: secret\r\n\
                 X-Seen: yes\r\nConnection: close\r\n\r\n"
            )
        };
        let answer = send(&url, &request("Max-Forwards: 0\r\n")).await;
        assert!(origin.received().is_empty(), "{method}");
        assert!(!answer.contains("secret"), "{answer}");
        if method == "TRACE" {
            assert!(answer.contains("content-type: message/http"), "{answer}");
            assert!(
                answer.contains("TRACE /a?b HTTP/1.1\r\n") && answer.contains("x-seen: yes"),
                "{answer}"
            );
        } else {
            assert!(
                answer.starts_with("HTTP/1.1 204 ") && answer.contains("allow: "),
                "{answer}"
            );
        }
        // The last but one hands it on, with one less; without the field there is no limit.
        send(&url, &request("Max-Forwards: 3\r\n")).await;
        send(&url, &request("")).await;
        let received = origin.received();
        assert!(received[0].contains("max-forwards: 2\r\n"), "{received:?}");
        assert!(!received[1].contains("max-forwards"), "{received:?}");
    }
    // Other methods are not limited.
    let request = "GET / HTTP/1.1\r\nHost: example.com\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n";
    assert!(send(&url, request).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(origin.received().len(), 1);
}

#[tokio::test]
async fn userinfo_never_travels() {
    let (origin, url) = Origin::start().await;
    let request = "GET http://ann:secret@example.com/a HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
    assert!(send(&url, request).await.starts_with("HTTP/1.1 200 "));
    let received = origin.received();
    assert!(received[0].starts_with("GET /a HTTP/1.1\r\n"), "{received:?}");
    assert!(received[0].contains("host: example.com\r\n"), "{received:?}");
    assert!(!received[0].contains("secret"), "{received:?}");
    let request = "GET /b HTTP/1.1\r\nHost: ann:secret@example.com\r\nConnection: close\r\n\r\n";
    assert!(send(&url, request).await.starts_with("HTTP/1.1 400 "));
    assert!(origin.received().is_empty());
}

/// The answer is stored for everybody: a client may not say what host or URL it is made for.
#[tokio::test]
async fn what_a_client_says_of_its_way_here_never_travels() {
    let (origin, url) = Origin::start().await;
    let fields = [
        "Forwarded: for=6.6.6.6;host=evil.example;proto=http",
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: 666",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-Proto: evil",
        "X-Forwarded-Scheme: evil",
        "X-Forwarded-Server: evil.example",
        "X-Host: evil.example",
        "X-Original-URL: /evil",
        "X-Rewrite-URL: /evil",
    ];
    let request = format!(
        "GET /a HTTP/1.1\r\nHost: example.com\r\n{}\r\nX-Seen: yes\r\nConnection: close\r\n\r\n",
        fields.join("\r\n")
    );
    assert!(send(&url, &request).await.starts_with("HTTP/1.1 200 "));
    let received = origin.received();
    assert!(received[0].contains("host: example.com\r\n"), "{received:?}");
    assert!(received[0].contains("x-seen: yes\r\n"), "{received:?}");
    for wrong in ["forwarded", "evil", "666", "6.6.6.6", "x-host", "x-original", "x-rewrite"] {
        assert!(!received[0].contains(wrong), "{wrong}: {received:?}");
    }
}

#[tokio::test]
async fn chunked_request_bodies_arrive() {
    let (origin, url) = Origin::start().await;
    for method in ["GET", "POST", "QUERY"] {
        let request = format!(
            "{method} /a HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        );
        assert!(send(&url, &request).await.starts_with("HTTP/1.1 200 "), "{method}");
        let received = origin.received();
        let content: String = received[0].split("\r\n\r\n").skip(1).collect();
        assert!(
            content.contains("abc") && content.contains("de"),
            "{method}: {received:?}"
        );
    }
}

#[test]
fn an_origin_that_is_none_is_named() {
    for url in ["", "origin", "https://127.0.0.1:8000", "http://127.0.0.1:8000/path"] {
        let error = gateway::app(url, layer()).unwrap_err();
        assert!(error.contains("URL"), "{url}: {error}");
    }
}
