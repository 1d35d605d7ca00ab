//! Responses that are not stored still answer conditions and ranges: the layer evaluates these, because the handler
//! does not see them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{Bodies, Reply, app, get, get_with, idle, layer, request, start};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;

const TAG: (&str, &str) = ("etag", "\"a\"");

/// The first answer of a URL, by a handler that makes a stream of ten bytes with these headers.
async fn first(headers: &[(&'static str, &'static str)], asked: &[(&str, &str)]) -> Reply {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    let (app, calls) = app(layer(), move |_, _| {
        let pieces = ["0123", "45", "6789"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        (headers.clone(), Body::from_stream(futures_util::stream::iter(pieces)))
    });
    let reply = get_with(&app, "/", asked).await;
    assert_eq!(calls.count(), 1, "the handler is asked once");
    reply
}

#[tokio::test]
async fn if_none_match_gives_304() {
    for refused in [
        ("cache-control", "private"),
        ("cache-control", "no-store"),
        ("set-cookie", "a=1"),
        ("content-type", "text/event-stream"),
    ] {
        let headers = [TAG, refused, ("content-length", "10")];
        for asked in ["\"a\"", "W/\"a\", \"b\"", "*"] {
            let reply = first(&headers, &[("if-none-match", asked)]).await;
            assert_eq!(
                (reply.status, reply.text()),
                (StatusCode::NOT_MODIFIED, ""),
                "{refused:?}"
            );
            assert_eq!((reply.header("etag"), reply.header("content-length")), ("\"a\"", "10"));
            assert!(
                reply.cache_status().contains("fwd-status=200"),
                "{}",
                reply.cache_status()
            );
            assert!(reply.cache_status().contains("detail="), "{}", reply.cache_status());
            if refused.0 != "content-type" {
                assert_eq!(reply.header(refused.0), refused.1);
            }
        }
        let reply = first(&headers, &[("if-none-match", "\"b\"")]).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, "0123456789"));
    }
}

#[tokio::test]
async fn if_modified_since_gives_304_by_the_handlers_own_date_only() {
    let modified = ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT");
    let private = ("cache-control", "private");
    for (since, status) in [
        ("Mon, 01 Jan 2024 00:00:00 GMT", StatusCode::NOT_MODIFIED),
        ("Sun, 31 Dec 2023 00:00:00 GMT", StatusCode::OK),
    ] {
        let reply = first(&[private, modified], &[("if-modified-since", since)]).await;
        assert_eq!(reply.status, status);
    }
    let far = ("if-modified-since", "Mon, 01 Jan 2124 00:00:00 GMT");
    assert_eq!(first(&[private], &[far]).await.status, StatusCode::OK);
    // The tag outweighs the date.
    let both = [far, ("if-none-match", "\"b\"")];
    assert_eq!(first(&[private, modified, TAG], &both).await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_a_success_is_not_modified() {
    let (app, _) = app(layer(), |_, _| (StatusCode::NOT_FOUND, [TAG], "0123456789"));
    let asked = [("if-none-match", "\"a\""), ("range", "bytes=0-1")];
    let reply = get_with(&app, "/", &asked).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::NOT_FOUND, "0123456789"));
}

#[tokio::test]
async fn a_range_is_cut_from_the_stream() {
    let headers = [TAG, ("cache-control", "private"), ("content-length", "10")];
    for (range, content_range, text) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("bytes=4-5", "bytes 4-5/10", "45"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=0-99", "bytes 0-9/10", "0123456789"),
    ] {
        let part = first(&headers, &[("range", range)]).await;
        assert_eq!(
            (part.status, part.text()),
            (StatusCode::PARTIAL_CONTENT, text),
            "{range}"
        );
        assert_eq!(
            (part.header("content-range"), part.header("content-length")),
            (content_range, &*text.len().to_string())
        );
        assert_eq!(
            (part.header("cache-control"), part.header("etag")),
            ("private", "\"a\"")
        );
        assert_eq!(
            part.cache_status(),
            "cache; fwd=uri-miss; fwd-status=200; detail=private"
        );
    }
    let beyond = first(&headers, &[("range", "bytes=10-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!((beyond.header("content-range"), beyond.text()), ("bytes */10", ""));
    let cookie = [("set-cookie", "session=1"), ("content-length", "10")];
    let beyond = first(&cookie, &[("range", "bytes=10-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("set-cookie"), "session=1", "the handler has begun one");
    let held = first(&headers, &[("range", "bytes=2-4"), ("if-range", "\"a\"")]).await;
    assert_eq!((held.status, held.text()), (StatusCode::PARTIAL_CONTENT, "234"));
    let condition = first(&headers, &[("range", "bytes=2-4"), ("if-none-match", "\"a\"")]).await;
    assert_eq!(condition.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn what_cannot_be_cut_is_given_whole() {
    let private = ("cache-control", "private");
    let known = [TAG, private, ("content-length", "10")];
    let whole = [
        first(&known, &[("range", "bytes=2-4"), ("if-range", "\"b\"")]).await,
        // The parts of a stream come in its order, and once.
        first(&known, &[("range", "bytes=4-5,0-1")]).await,
        // Nobody knows how long it is.
        first(&[TAG, private], &[("range", "bytes=2-4")]).await,
    ];
    for reply in whole {
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, "0123456789"));
    }
}

#[tokio::test]
async fn a_large_file_is_not_sent_for_a_part_of_it() {
    let (app, calls) = app(layer().max_body(8), |_, parts| {
        // As a file server does: it evaluates what it sees.
        match parts.headers.get("range").map(|range| range.to_str().unwrap()) {
            Some("bytes=0-1") => {
                (StatusCode::PARTIAL_CONTENT, [("content-range", "bytes 0-1/10")], "01").into_response()
            }
            _ => "0123456789".into_response(),
        }
    });
    for call in 1..4 {
        let part = get_with(&app, "/", &[("range", "bytes=0-1")]).await;
        assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "01"));
        assert_eq!(part.header("content-range"), "bytes 0-1/10");
        // The first call shows how large the whole is.
        assert_eq!(calls.count(), call + 1);
    }
}

#[tokio::test]
async fn a_part_ends_the_stream_and_a_stream_that_ends_early_breaks_the_part() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let (app, _) = app(layer(), move |_, _| -> Response {
        ([("content-length", "10"), ("cache-control", "private")], source.take()).into_response()
    });
    let pieces = bodies.push();
    let response = start(&app, request(Method::GET, "/a", &[("range", "bytes=1-2")])).await;
    pieces.send(Ok(Bytes::from_static(b"0123"))).unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "12");
    idle().await;
    assert!(pieces.is_closed(), "nobody reads on");

    let pieces = bodies.push();
    let response = start(&app, request(Method::GET, "/b", &[("range", "bytes=1-5")])).await;
    pieces.send(Ok(Bytes::from_static(b"0123"))).unwrap();
    drop(pieces);
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_slow_body_is_cut_and_stored_whole() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let (app, calls) = app(layer(), move |_, _| ([("content-length", "10")], source.take()));
    let pieces = bodies.push();
    let response = start(&app, request(Method::GET, "/", &[("range", "bytes=1-2")])).await;
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        response.headers()["cache-status"],
        "cache; fwd=uri-miss; fwd-status=200; stored"
    );
    pieces.send(Ok(Bytes::from_static(b"01234"))).unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "12");
    pieces.send(Ok(Bytes::from_static(b"56789"))).unwrap();
    drop(pieces);
    idle().await;
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.text(), calls.count()), ("HIT", "0123456789", 1));
}

#[tokio::test]
async fn nobody_is_to_keep_that_a_range_of_a_slow_body_lies_beyond_its_end() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let (app, _) = app(layer(), move |_, _| ([("content-length", "10")], source.take()));
    let _pieces = bodies.push();
    let response = start(&app, request(Method::GET, "/", &[("range", "bytes=10-")])).await;
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(response.headers().get("cache-control"), None);
}
