//! The cost of a range is proportional to its size: the whole representation is not produced if it will not be stored.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::support::{Calls, cache, get_with};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cache_axum::CacheLayer;
use http::{HeaderMap, StatusCode};

const GIB: u64 = 1024 * 1024 * 1024;
const PIECE: u64 = 64 * 1024;

/// What is known of a body beforehand, and how it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Known,
    Unknown,
    /// Its pieces are not there at once, as those of a file are not.
    UnknownAndLate,
}

fn file_server(layer: CacheLayer, size: u64) -> (Router, Arc<AtomicU64>, Calls) {
    file_server_with(layer, size, Length::Known)
}

/// A file server with one file of this size, which counts what it produces.
fn file_server_with(layer: CacheLayer, size: u64, known: Length) -> (Router, Arc<AtomicU64>, Calls) {
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
        let mut is_late = false;
        let body = Body::from_stream(futures_util::stream::poll_fn(move |context| {
            is_late = known == Length::UnknownAndLate && !is_late;
            if is_late {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let piece = left.min(PIECE);
            left -= piece;
            counted.fetch_add(piece, Ordering::SeqCst);
            Poll::Ready((piece > 0).then(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; piece as usize]))))
        }));
        let mut response = Response::builder();
        if known == Length::Known || range.is_some() {
            response = response.header("content-length", length);
        }
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
    let (app, produced, calls) = file_server(crate::support::layer(), 1024 * 1024);
    for x_cache in ["MISS", "HIT"] {
        let part = get_with(&app, "/", &[("range", "bytes=10-19")]).await;
        assert_eq!((part.status, part.body.len()), (StatusCode::PARTIAL_CONTENT, 10));
        assert_eq!(part.x_cache(), x_cache);
    }
    assert_eq!((calls.count(), produced.load(Ordering::SeqCst)), (1, 1024 * 1024));
}

#[tokio::test]
async fn a_part_of_what_is_found_to_be_too_large_is_produced_alone() {
    const MAX_BODY: u64 = 1024 * 1024;
    for known in [Length::Unknown, Length::UnknownAndLate] {
        let (cache, clock) = cache();
        let layer = CacheLayer::new(cache)
            .ttl(Duration::from_secs(60))
            .max_body(MAX_BODY as usize);
        let (app, produced, calls) = file_server_with(layer, 3 * GIB, known);
        let part = get_with(&app, "/", &ASKED).await;
        assert_eq!((part.status, part.body.len()), (StatusCode::PARTIAL_CONTENT, 100));
        assert_eq!(part.header("content-range"), "bytes 2147483648-2147483747/3221225472");
        assert_eq!(part.cache_status(), "cache; fwd=uri-miss; detail=too-large");
        let found_out = produced.load(Ordering::SeqCst);
        assert!(found_out <= MAX_BODY + 3 * PIECE, "{found_out}");
        assert_eq!(calls.count(), 2);
        // That is known for as long as an entry would live.
        clock.advance(Duration::from_secs(59));
        for _ in 0..10 {
            get_with(&app, "/", &ASKED).await;
        }
        assert_eq!(calls.count(), 12);
        assert!(produced.load(Ordering::SeqCst) <= found_out + 10 * PIECE);
        clock.advance(Duration::from_secs(2));
        get_with(&app, "/", &ASKED).await;
        assert_eq!(calls.count(), 14, "asked anew");
    }
}

#[tokio::test]
async fn what_a_request_for_the_whole_shows_is_remembered_for_parts() {
    for known in [Length::Known, Length::Unknown, Length::UnknownAndLate] {
        let (cache, clock) = cache();
        let layer = CacheLayer::new(cache)
            .ttl(Duration::from_secs(60))
            .max_body(1024 * 1024);
        let (app, produced, calls) = file_server_with(layer, 8 * 1024 * 1024, known);
        assert_eq!(crate::support::get(&app, "/").await.body.len(), 8 * 1024 * 1024);
        crate::support::idle().await;
        clock.advance(Duration::from_secs(59));
        let before = produced.load(Ordering::SeqCst);
        let part = get_with(&app, "/", &[("range", "bytes=10-19")]).await;
        assert_eq!((part.status, part.body.len()), (StatusCode::PARTIAL_CONTENT, 10));
        assert_eq!(produced.load(Ordering::SeqCst) - before, 10, "{known:?}");
        assert_eq!(calls.count(), 2);
    }
}

/// The control: what fits is loaded as a whole, though nobody has known that beforehand.
#[tokio::test]
async fn a_part_of_what_is_found_to_fit_is_cut_from_the_whole() {
    for known in [Length::Unknown, Length::UnknownAndLate] {
        let (app, _, calls) = file_server_with(crate::support::layer(), 1024 * 1024, known);
        for x_cache in ["MISS", "HIT"] {
            let part = get_with(&app, "/", &[("range", "bytes=10-19")]).await;
            assert_eq!((part.status, part.body.len()), (StatusCode::PARTIAL_CONTENT, 10));
            assert_eq!(part.header("content-range"), "bytes 10-19/1048576");
            assert_eq!(part.x_cache(), x_cache);
            crate::support::idle().await;
        }
        assert_eq!(calls.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_does_not_wait_for_a_slow_whole_beyond_the_bound() {
    let bodies = crate::support::Bodies::default();
    let source = bodies.clone();
    let (app, calls) = crate::support::app(
        crate::support::layer().max_wait(Duration::from_secs(2)),
        move |_, request| {
            if request.headers.contains_key("range") {
                return Response::builder()
                    .status(StatusCode::PARTIAL_CONTENT)
                    .header("content-range", "bytes 0-2/9")
                    .body(Body::from("one"))
                    .unwrap();
            }
            Response::new(source.take())
        },
    );
    let pieces = bodies.push();
    pieces.send(Ok(Bytes::from_static(b"one "))).unwrap();
    let began = tokio::time::Instant::now();
    let part = get_with(&app, "/", &[("range", "bytes=0-2")]).await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "one"));
    assert_eq!(part.cache_status(), "cache; fwd=uri-miss; detail=overdue");
    assert!(began.elapsed() < Duration::from_millis(2100), "{:?}", began.elapsed());
    // The whole is collected all the same.
    pieces.send(Ok(Bytes::from_static(b"two"))).unwrap();
    drop(pieces);
    crate::support::idle().await;
    let hit = crate::support::get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.text(), calls.count()), ("HIT", "one two", 2));
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_on_for_a_client_who_has_left() {
    let running = Arc::new(());
    let counted = Arc::clone(&running);
    let handler = move |headers: HeaderMap| {
        let counted = Arc::clone(&counted);
        async move {
            if headers.contains_key("range") {
                // The part takes for ever.
                std::future::pending::<()>().await;
                drop(counted);
            }
            Response::builder()
                .header("content-length", 3 * GIB)
                .body(Body::from_stream(
                    futures_util::stream::pending::<std::io::Result<Bytes>>(),
                ))
                .unwrap()
        }
    };
    let app = Router::new().fallback(handler).layer(crate::support::layer());
    let idle = Arc::strong_count(&running);
    for number in 0..10 {
        let uri = format!("/{number}");
        let asking = get_with(&app, &uri, &ASKED);
        let left = tokio::time::timeout(Duration::from_millis(50), asking).await;
        assert!(left.is_err());
    }
    crate::support::idle().await;
    assert_eq!(Arc::strong_count(&running), idle);
}

/// The content of a `QUERY` is in memory, so the handler can get it once more, with the range.
#[tokio::test]
async fn a_part_of_a_large_result_is_produced_alone() {
    let calls = Calls::default();
    let counter = calls.clone();
    let handler = move |headers: HeaderMap, content: String| {
        counter.add();
        let mut response = Response::builder();
        let body = if headers.contains_key("range") {
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header("content-range", format!("bytes 0-{}/{}", content.len() - 1, 3 * GIB));
            Body::from(content)
        } else {
            response = response.header("content-length", 3 * GIB);
            Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>())
        };
        std::future::ready(response.body(body).unwrap())
    };
    let layer = crate::support::layer().query_method(1024);
    let app = Router::new().fallback(handler).layer(layer);
    for expected in [2, 3] {
        let request = http::Request::builder()
            .method("QUERY")
            .uri("/")
            .header("host", "test")
            .header("range", "bytes=0-6")
            .body(Body::from("content"))
            .unwrap();
        let part = crate::support::send(&app, request).await;
        assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "content"));
        assert_eq!(calls.count(), expected, "only the first one shows how large it is");
    }
}
