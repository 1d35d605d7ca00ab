//! A range costs in proportion to what was asked: the whole is not produced for it where it will not be stored.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cache_axum::CacheLayer;
use http::{HeaderMap, StatusCode};
use support::{Calls, cache, get_with};

const GIB: u64 = 1024 * 1024 * 1024;
const PIECE: u64 = 64 * 1024;

/// A file server with one file of this size, which counts what it produces.
fn file_server(layer: CacheLayer, size: u64) -> (Router, Arc<AtomicU64>, Calls) {
    let (produced, calls) = (Arc::new(AtomicU64::new(0)), Calls::default());
    let (counted, counter) = (Arc::clone(&produced), calls.clone());
    let handler = move |headers: HeaderMap| {
        counter.add();
        let range = headers.get("range").map(|range| {
            let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap().to_owned();
            let (first, last) = range.split_once('-').unwrap();
            (first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap())
        });
        let (first, last) = range.unwrap_or((0, size - 1));
        let (mut left, counted) = (last + 1 - first, Arc::clone(&counted));
        let length = left;
        let body = Body::from_stream(futures_util::stream::poll_fn(move |_| {
            let piece = left.min(PIECE);
            left -= piece;
            counted.fetch_add(piece, Ordering::SeqCst);
            Poll::Ready((piece > 0).then(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; piece as usize]))))
        }));
        let mut response = Response::builder().header("content-length", length);
        if range.is_some() {
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header("content-range", format!("bytes {first}-{last}/{size}"));
        }
        std::future::ready(response.body(body).unwrap())
    };
    (Router::new().fallback(handler).layer(layer), produced, calls)
}

const ASKED: [(&str, &str); 1] = [("range", "bytes=2147483648-2147483747")];

#[tokio::test]
async fn a_part_of_what_is_too_large_is_produced_alone() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache).ttl(Duration::from_secs(60));
    let (app, produced, calls) = file_server(layer, 3 * GIB);
    let part = get_with(&app, "/", &ASKED).await;
    assert_eq!((part.status, part.body.len()), (StatusCode::PARTIAL_CONTENT, 100));
    assert_eq!(part.header("content-range"), "bytes 2147483648-2147483747/3221225472");
    assert_eq!(part.cache_status(), "cache; fwd=uri-miss; detail=too-large");
    assert!(produced.load(Ordering::SeqCst) <= 100 + PIECE);
    assert_eq!(calls.count(), 2, "the first one shows how large it is");
    // That is known for as long as an entry would live.
    clock.advance(Duration::from_secs(59));
    get_with(&app, "/", &ASKED).await;
    assert_eq!(calls.count(), 3);
    clock.advance(Duration::from_secs(2));
    get_with(&app, "/", &ASKED).await;
    assert_eq!(calls.count(), 5, "asked anew");
    for query in 0..10 {
        get_with(&app, &format!("/?{query}"), &ASKED).await;
    }
    assert!(produced.load(Ordering::SeqCst) <= 20 * (100 + PIECE));
}

/// The control: what fits is loaded as a whole, and its parts are cut from what is stored.
#[tokio::test]
async fn a_part_of_what_fits_is_cut_from_the_whole() {
    let (app, produced, calls) = file_server(support::layer(), 1024 * 1024);
    for x_cache in ["MISS", "HIT"] {
        let part = get_with(&app, "/", &[("range", "bytes=10-19")]).await;
        assert_eq!((part.status, part.body.len()), (StatusCode::PARTIAL_CONTENT, 10));
        assert_eq!(part.x_cache(), x_cache);
    }
    assert_eq!((calls.count(), produced.load(Ordering::SeqCst)), (1, 1024 * 1024));
}
