//! Conditional requests and ranges.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{app, get, get_with, layer, request, send};
use axum::body::Body;
use axum::response::IntoResponse;
use http::{Method, StatusCode};

const TAG: &str = "\"8f21c6eeea2168b10364a0a711290bf9\"";

#[tokio::test]
async fn if_none_match_gives_304_on_hit_and_on_miss() {
    for field in [TAG, "\"x\", W/\"8f21c6eeea2168b10364a0a711290bf9\"", "*"] {
        let (app, calls) = app(layer(), |_, _| ([("x-more", "1")], "hello"));
        for x_cache in ["MISS", "HIT"] {
            let reply = get_with(&app, "/", &[("if-none-match", field)]).await;
            assert_eq!(
                (reply.status, reply.x_cache()),
                (StatusCode::NOT_MODIFIED, x_cache),
                "{field}"
            );
            assert_eq!(
                (reply.header("etag"), reply.header("content-length"), reply.text()),
                (TAG, "5", "")
            );
            assert_eq!(
                (reply.header("x-more"), reply.header("cache-control")),
                ("1", "max-age=60")
            );
        }
        assert_eq!(calls.count(), 1);
        assert_eq!(get(&app, "/").await.text(), "hello");
    }
}

#[tokio::test]
async fn another_tag_gives_the_whole() {
    let (app, _) = app(layer(), |_, _| "hello");
    for _ in 0..2 {
        let reply = get_with(&app, "/", &[("if-none-match", "\"x\"")]).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, "hello"));
    }
}

#[tokio::test]
async fn the_handler_sees_no_conditions_when_its_answer_is_stored() {
    let (app, _) = app(layer(), |_, parts| format!("{:?}", parts.headers));
    let asked = [
        ("if-none-match", "\"a\""),
        ("if-modified-since", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("range", "bytes=0-1"),
        ("if-range", "\"a\""),
    ];
    let reply = get_with(&app, "/", &asked).await;
    for (name, _) in asked {
        assert!(!reply.text().contains(name), "{}", reply.text());
    }
    // A request that passes by keeps them.
    let own = get_with(&app, "/", &[asked[0], ("authorization", "a")]).await;
    assert!(own.text().contains("if-none-match"));
}

#[tokio::test]
async fn if_none_match_outweighs_if_modified_since() {
    let modified = "Mon, 01 Jan 2024 00:00:00 GMT";
    let (app, _) = app(layer(), move |_, _| ([("last-modified", modified)], "hello"));
    get(&app, "/").await;
    let since = ("if-modified-since", modified);
    assert_eq!(get_with(&app, "/", &[since]).await.status, StatusCode::NOT_MODIFIED);
    let earlier = ("if-modified-since", "Sun, 31 Dec 2023 00:00:00 GMT");
    assert_eq!(get_with(&app, "/", &[earlier]).await.status, StatusCode::OK);
    assert_eq!(
        get_with(&app, "/", &[since, ("if-none-match", "\"x\"")]).await.status,
        StatusCode::OK
    );
    assert_eq!(
        get_with(&app, "/", &[earlier, ("if-none-match", TAG)]).await.status,
        StatusCode::NOT_MODIFIED
    );
}

#[tokio::test]
async fn head_is_answered_from_a_stored_get() {
    let (app, calls) = app(layer(), |_, parts| format!("{} hello", parts.method));
    let head = send(&app, request(Method::HEAD, "/", &[])).await;
    assert_eq!(head.cache_status(), "cache; fwd=uri-miss; detail=head");
    // A HEAD stores nothing.
    assert_eq!(get(&app, "/").await.text(), "GET hello");
    let head = send(&app, request(Method::HEAD, "/", &[])).await;
    assert_eq!(
        (head.x_cache(), head.text(), head.header("content-length")),
        ("HIT", "", "9")
    );
    let head = send(&app, request(Method::HEAD, "/", &[("if-none-match", "*")])).await;
    assert_eq!(head.status, StatusCode::NOT_MODIFIED);
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn accept_ranges_says_where_ranges_are_cut() {
    let handler = |_, parts: http::request::Parts| match parts.uri.path() {
        "/none" => ([("accept-ranges", "none")], "hello").into_response(),
        "/created" => (StatusCode::CREATED, "hello").into_response(),
        "/private" => ([("cache-control", "private")], "hello").into_response(),
        "/stream" => {
            let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("he"), Ok("llo")]);
            Body::from_stream(pieces).into_response()
        }
        _ => "hello".into_response(),
    };
    let (app, _) = app(layer().post(100), handler);
    // The handler's own word stays, and of a 201 no ranges are cut.
    for (path, says) in [
        ("/", "bytes"),
        ("/stream", "bytes"),
        ("/none", "none"),
        ("/created", ""),
    ] {
        for x_cache in ["MISS", "HIT"] {
            let reply = get(&app, path).await;
            assert_eq!(
                (reply.x_cache(), reply.header("accept-ranges")),
                (x_cache, says),
                "{path}"
            );
        }
        let head = send(&app, request(Method::HEAD, path, &[])).await;
        assert_eq!((head.x_cache(), head.header("accept-ranges")), ("HIT", says), "{path}");
    }
    // What is not stored is the handler's, and the layer serves no ranges to POST.
    assert_eq!(get(&app, "/private").await.header("accept-ranges"), "");
    for x_cache in ["MISS", "HIT"] {
        let reply = send(&app, request(Method::POST, "/", &[])).await;
        assert_eq!((reply.x_cache(), reply.header("accept-ranges")), (x_cache, ""));
    }
}

#[tokio::test]
async fn ranges_are_cut_from_the_whole() {
    let (app, calls) = app(layer(), |_, _| "0123456789");
    for x_cache in ["MISS", "HIT"] {
        let part = get_with(&app, "/", &[("range", "bytes=2-4")]).await;
        assert_eq!(
            (part.status, part.text(), part.x_cache()),
            (StatusCode::PARTIAL_CONTENT, "234", x_cache)
        );
        assert_eq!(
            (part.header("content-range"), part.header("content-length")),
            ("bytes 2-4/10", "3")
        );
    }
    let several = get_with(&app, "/", &[("range", "bytes=0-1,-1")]).await;
    assert_eq!(several.status, StatusCode::PARTIAL_CONTENT);
    assert!(
        several
            .header("content-type")
            .starts_with("multipart/byteranges; boundary=")
    );
    assert_eq!(several.header("content-length"), several.body.len().to_string());
    let beyond = get_with(&app, "/", &[("range", "bytes=10-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), "bytes */10");
    // It is no answer to keep, for a cache in front neither.
    assert_eq!((beyond.header("cache-control"), beyond.header("age")), ("", ""));
    let outdated = get_with(&app, "/", &[("range", "bytes=2-4"), ("if-range", "\"x\"")]).await;
    assert_eq!((outdated.status, outdated.text()), (StatusCode::OK, "0123456789"));
    assert_eq!(get(&app, "/").await.text(), "0123456789");
    assert_eq!(calls.count(), 1);
}
