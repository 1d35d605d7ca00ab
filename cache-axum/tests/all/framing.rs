//! Whether a request has content depends on its framing (RFC 9112, section 6.3), and not on the size hint of a body
//! type.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::support::{Calls, Reply, layer, send};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Version};
use http_body::Frame;

/// A body that gives no hints, as that of `RequestBodyTimeoutLayer`.
struct Bare {
    pieces: Vec<&'static str>,
    hangs: bool,
}

impl Bare {
    fn of(pieces: &[&'static str]) -> Body {
        let pieces = pieces.iter().rev().copied().collect();
        Body::new(Self { pieces, hangs: false })
    }

    fn hanging() -> Body {
        Body::new(Self {
            pieces: Vec::new(),
            hangs: true,
        })
    }
}

impl http_body::Body for Bare {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.pieces.pop() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))),
            None if self.hangs => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

fn echo() -> (Router, Calls) {
    let calls = Calls::default();
    let counter = calls.clone();
    let handler = move |content: Bytes| {
        let call = counter.add();
        async move { format!("{call} {}", String::from_utf8_lossy(&content)) }
    };
    (Router::new().fallback(handler).layer(layer()), calls)
}

async fn get(app: &Router, version: Version, framing: &[(&str, &str)], body: Body) -> Reply {
    let mut request = Request::builder().uri("http://test/").version(version);
    for (name, value) in framing {
        request = request.header(*name, *value);
    }
    send(app, request.body(body).unwrap()).await
}

#[tokio::test]
async fn a_body_without_content_does_not_switch_the_cache_off() {
    let chunked = &[("transfer-encoding", "chunked")][..];
    let (app, calls) = echo();
    get(&app, Version::HTTP_11, &[], Body::empty()).await;
    for (version, framing, body) in [
        (Version::HTTP_11, &[][..], Bare::of(&[])),
        // A body type that never ends is not waited for where there is no framing for content.
        (Version::HTTP_11, &[], Bare::hanging()),
        (Version::HTTP_10, &[], Bare::of(&[])),
        (Version::HTTP_11, &[("content-length", "0")], Bare::of(&[])),
        (Version::HTTP_11, chunked, Bare::of(&[])),
        (Version::HTTP_2, &[], Bare::of(&[])),
        // An empty DATA frame.
        (Version::HTTP_2, &[], Bare::of(&[""])),
        (Version::HTTP_2, &[("content-length", "0")], Bare::of(&["", ""])),
    ] {
        let reply = get(&app, version, framing, body).await;
        assert_eq!(
            (reply.x_cache(), reply.text()),
            ("HIT", "1 "),
            "{version:?} {framing:?}"
        );
    }
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn content_passes_the_cache_by_and_arrives_whole() {
    let chunked = &[("transfer-encoding", "chunked")][..];
    let (app, _) = echo();
    get(&app, Version::HTTP_11, &[], Body::empty()).await;
    for (version, framing, body) in [
        (Version::HTTP_11, &[("content-length", "2")][..], Body::from("ab")),
        (Version::HTTP_11, &[("content-length", "2")], Bare::of(&["a", "b"])),
        (Version::HTTP_11, chunked, Bare::of(&["", "a", "b"])),
        (Version::HTTP_2, &[], Bare::of(&["", "ab"])),
        // What something before the layer has made of it.
        (Version::HTTP_11, &[], Bare::of(&["ab"])),
        (Version::HTTP_11, &[], Body::from("ab")),
    ] {
        let reply = get(&app, version, framing, body).await;
        assert_eq!(reply.cache_status(), "cache; fwd=bypass; detail=content");
        assert!(
            reply.text().ends_with(" ab"),
            "{version:?} {framing:?} {}",
            reply.text()
        );
    }
}
