//! tower-http's compression, inside and outside of the cache: whatever encodings a client accepts, it can decode what
//! it gets, and an entity-tag identifies one sequence of bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Read;

use crate::support::{Calls, Reply, get, get_with, layer, request, send};
use axum::Router;
use cache_axum::CacheLayer;
use flate2::read::{GzDecoder, ZlibDecoder};
use http::{Method, StatusCode};
use proptest::prelude::*;
use tower_http::compression::CompressionLayer;

const TEXT: &str =
    "A text that is long enough to be worth compressing, and again: long enough to be worth compressing.";

fn numbered() -> (Router, Calls) {
    let calls = Calls::default();
    let counter = calls.clone();
    let handler = move || {
        counter.add();
        async { TEXT }
    };
    (Router::new().fallback(handler), calls)
}

/// The cache holds what is compressed already.
fn inside(cache: CacheLayer) -> (Router, Calls) {
    let (router, calls) = numbered();
    (router.layer(CompressionLayer::new()).layer(cache), calls)
}

/// What the cache holds is compressed for each client.
fn outside(cache: CacheLayer) -> (Router, Calls) {
    let (router, calls) = numbered();
    (router.layer(cache).layer(CompressionLayer::new()), calls)
}

async fn taking(app: &Router, codings: &str) -> Reply {
    get_with(app, "/", &[("accept-encoding", codings)]).await
}

fn decoded(reply: &Reply) -> String {
    let mut text = String::new();
    match reply.header("content-encoding") {
        "" => text.push_str(reply.text()),
        "gzip" => drop(GzDecoder::new(&*reply.body).read_to_string(&mut text).unwrap()),
        "deflate" => drop(ZlibDecoder::new(&*reply.body).read_to_string(&mut text).unwrap()),
        other => panic!("an unknown coding: {other}"),
    }
    text
}

/// What must be true of every answer with content, hit or miss.
fn check(reply: &Reply, taken: &[&str]) {
    let coding = reply.header("content-encoding");
    assert_eq!(reply.status, StatusCode::OK);
    assert!(coding.is_empty() || taken.contains(&coding), "{coding:?} of {taken:?}");
    assert_eq!(decoded(reply), TEXT);
    assert_eq!(
        reply.headers.get_all("content-encoding").iter().count(),
        usize::from(!coding.is_empty())
    );
    assert!(
        reply
            .headers
            .get_all("vary")
            .iter()
            .any(|value| value == "accept-encoding")
    );
    let length = reply.header("content-length");
    assert!(length.is_empty() || length == reply.body.len().to_string(), "{length}");
}

/// What clients send, and what they can read.
const CLIENTS: [(&str, &[&str]); 9] = [
    ("", &[]),
    ("identity", &[]),
    ("gzip", &["gzip"]),
    ("gzip, deflate, br, zstd", &["gzip", "deflate"]),
    ("deflate", &["deflate"]),
    ("gzip;q=0.2, deflate;q=0.8", &["gzip", "deflate"]),
    ("gzip;q=0", &[]),
    ("br", &[]),
    ("deflate;q=0, gzip;q=0, *", &[]),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_client_can_read_what_it_gets(order in prop::collection::vec(0..CLIENTS.len(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for (app, _) in [inside(layer()), outside(layer()), outside(layer().weak_etags(true))] {
                for &client in &order {
                    let (codings, taken) = CLIENTS[client];
                    check(&taking(&app, codings).await, taken);
                }
            }
        });
    }
}

#[tokio::test]
async fn inside_each_coding_is_stored_once() {
    let (app, calls) = inside(layer());
    let mut tags = Vec::new();
    for (number, codings) in ["gzip", "deflate", "identity"].into_iter().enumerate() {
        let miss = taking(&app, codings).await;
        let hit = taking(&app, codings).await;
        assert_eq!((miss.x_cache(), hit.x_cache()), ("MISS", "HIT"), "{codings}");
        assert_eq!((&miss.body, miss.header("etag")), (&hit.body, hit.header("etag")));
        assert_eq!(miss.header("content-encoding"), hit.header("content-encoding"));
        assert_eq!(calls.count(), number + 1);
        tags.push(hit.header("etag").to_owned());
    }
    // Strong, as each stands for the bytes of one coding (RFC 9110, section 8.8.3.3).
    assert!(tags.iter().all(|tag| tag.starts_with('"')), "{tags:?}");
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each has a tag of its own");
}

#[tokio::test]
async fn inside_the_tag_of_one_coding_is_not_that_of_another() {
    let (app, _) = inside(layer());
    let gzip = taking(&app, "gzip").await;
    let ask = async |codings| {
        let fields = [("accept-encoding", codings), ("if-none-match", gzip.header("etag"))];
        get_with(&app, "/", &fields).await
    };
    let same = ask("gzip").await;
    assert_eq!((same.status, same.text()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(
        (same.header("etag"), same.header("vary")),
        (gzip.header("etag"), "accept-encoding")
    );
    assert_eq!(same.header("content-encoding"), "");
    check(&ask("identity").await, &[]);
}

#[tokio::test]
async fn inside_ranges_are_of_the_coded_bytes() {
    let (app, _) = inside(layer());
    let (gzip, plain) = (taking(&app, "gzip").await, taking(&app, "identity").await);
    let part = async |tag: &str| {
        let fields = [("accept-encoding", "gzip"), ("range", "bytes=0-9"), ("if-range", tag)];
        get_with(&app, "/", &fields).await
    };
    let first = part(gzip.header("etag")).await;
    assert_eq!(
        (first.status, first.header("content-encoding")),
        (StatusCode::PARTIAL_CONTENT, "gzip")
    );
    assert_eq!(first.body, gzip.body.slice(..10));
    // Who has a part of the plain text gets no part of something else.
    check(&part(plain.header("etag")).await, &["gzip"]);
}

#[tokio::test]
async fn outside_all_codings_are_made_of_one_copy() {
    let (app, calls) = outside(layer());
    for (codings, coding) in [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("identity", ""),
        ("gzip", "gzip"),
    ] {
        assert_eq!(taking(&app, codings).await.header("content-encoding"), coding);
    }
    assert_eq!(calls.count(), 1);
}

/// Compression leaves tags as they are, so a strong one would stand for several sequences of bytes.
#[tokio::test]
async fn outside_a_weak_tag_is_true_of_all_codings() {
    for (layer, is_weak) in [(layer().weak_etags(true), true), (layer(), false)] {
        let (app, _) = outside(layer);
        let (gzip, plain) = (taking(&app, "gzip").await, taking(&app, "identity").await);
        assert_ne!(gzip.body, plain.body);
        let tag = plain.header("etag");
        assert_eq!(gzip.header("etag"), tag);
        assert_eq!(tag.starts_with("W/"), is_weak, "{tag}");
        let conditional = [("accept-encoding", "gzip"), ("if-none-match", tag)];
        assert_eq!(get_with(&app, "/", &conditional).await.status, StatusCode::NOT_MODIFIED);
        // A client with a part of the compressed bytes. Parts are never compressed, so they must not be joined to it.
        let resumed = [("accept-encoding", "gzip"), ("range", "bytes=20-"), ("if-range", tag)];
        let rest = get_with(&app, "/", &resumed).await;
        assert_eq!(rest.status == StatusCode::OK, is_weak, "{}", rest.status);
        assert_eq!(rest.header("content-encoding") == "gzip", is_weak);
    }
}

#[tokio::test]
async fn outside_what_has_no_content_is_not_compressed() {
    let (app, _) = outside(layer());
    let tag = get(&app, "/").await.header("etag").to_owned();
    for (method, fields) in [
        (Method::GET, [("accept-encoding", "gzip"), ("if-none-match", &*tag)]),
        (
            Method::HEAD,
            [("accept-encoding", "gzip"), ("if-none-match", "\"other\"")],
        ),
        (Method::GET, [("accept-encoding", "gzip"), ("range", "bytes=900-")]),
        (
            Method::GET,
            [
                ("accept-encoding", "gzip"),
                ("cache-control", "only-if-cached, max-age=0, min-fresh=900"),
            ],
        ),
    ] {
        let reply = send(&app, request(method.clone(), "/", &fields)).await;
        assert_eq!(
            (reply.header("content-encoding"), reply.text()),
            ("", ""),
            "{method} {fields:?}"
        );
    }
}

#[tokio::test]
async fn outside_a_part_is_a_part_of_the_plain_text() {
    let (app, _) = outside(layer());
    for _ in 0..2 {
        let part = get_with(&app, "/", &[("accept-encoding", "gzip"), ("range", "bytes=2-5")]).await;
        assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, &TEXT[2..6]));
        assert_eq!(part.header("content-encoding"), "");
    }
}
