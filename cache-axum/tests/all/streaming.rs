//! Bodies that are slow, break off, are too large, or never end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Bodies, app, get, get_with, idle, layer, next, request, start};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cache_axum::CacheLayer;
use futures_util::FutureExt;
use http::{HeaderMap, Method};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

fn streaming(layer: CacheLayer) -> (axum::Router, crate::support::Calls, Bodies) {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let (app, calls) = app(layer, move |_, _| source.take());
    (app, calls, bodies)
}

fn bytes(text: &'static str) -> Result<Bytes, std::io::Error> {
    Ok(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn the_first_byte_comes_before_the_last() {
    let (app, calls, bodies) = streaming(layer());
    let pieces = bodies.push();
    pieces.send(bytes("one ")).unwrap();
    let response = start(&app, request(Method::GET, "/", &[])).await;
    assert_eq!(response.headers()["cache-status"], "cache; fwd=uri-miss; stored");
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one ");
    assert!(next(&mut body).now_or_never().is_none(), "nothing yet");
    pieces.send(bytes("two")).unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "two");
    drop(pieces);
    assert!(next(&mut body).await.is_none());
    idle().await;
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "one two"));
    assert!(!hit.header("etag").is_empty());
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_the_fill() {
    let (app, calls, bodies) = streaming(layer());
    let pieces = bodies.push();
    pieces.send(bytes("one ")).unwrap();
    drop(start(&app, request(Method::GET, "/", &[])).await);
    idle().await;
    pieces.send(bytes("two")).unwrap();
    drop(pieces);
    idle().await;
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.text(), calls.count()), ("HIT", "one two", 1));
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_stop_the_fill() {
    let (app, _, bodies) = streaming(layer());
    let pieces = bodies.push();
    let unread = start(&app, request(Method::GET, "/", &[])).await;
    for _ in 0..100 {
        pieces.send(bytes("0123456789")).unwrap();
    }
    drop(pieces);
    idle().await;
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.body.len()), ("HIT", 1000));
    assert_eq!(unread.into_body().collect().await.unwrap().to_bytes(), hit.body);
}

#[tokio::test]
async fn a_broken_body_is_not_stored_and_the_client_sees_it_break() {
    let (app, calls, bodies) = streaming(layer());
    // Broken at once, and broken later.
    for late in [false, true] {
        let pieces = bodies.push();
        pieces.send(bytes("one")).unwrap();
        let broken = pieces.clone();
        let send = move || broken.send(Err(std::io::Error::other("gone"))).unwrap();
        if !late {
            send();
        }
        let response = start(&app, request(Method::GET, "/", &[])).await;
        if late {
            send();
        }
        let mut body = response.into_body();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
        assert!(next(&mut body).await.unwrap().is_err());
        idle().await;
    }
    assert_eq!(get(&app, "/").await.text(), "none left");
    assert_eq!(calls.count(), 3);
}

#[tokio::test]
async fn a_body_that_is_shorter_than_it_says_is_not_stored() {
    for (length, stored) in [("3", true), ("4", false)] {
        for late in [false, true] {
            let bodies = Bodies::default();
            let source = bodies.clone();
            let (app, _) = app(layer(), move |_, _| ([("content-length", length)], source.take()));
            let pieces = bodies.push();
            let response = if late {
                let response = start(&app, request(Method::GET, "/", &[])).await;
                pieces.send(bytes("one")).unwrap();
                drop(pieces);
                response
            } else {
                pieces.send(bytes("one")).unwrap();
                drop(pieces);
                start(&app, request(Method::GET, "/", &[])).await
            };
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "one");
            idle().await;
            assert_eq!(get(&app, "/").await.x_cache() == "HIT", stored, "{length} {late}");
        }
    }
}

#[tokio::test]
async fn what_is_too_large_passes_through() {
    let (app, calls, bodies) = streaming(layer().max_body(8));
    let pieces = bodies.push();
    pieces.send(bytes("01234")).unwrap();
    let response = start(&app, request(Method::GET, "/", &[])).await;
    pieces.send(bytes("56789")).unwrap();
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "01234");
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "56789");
    // The rest comes from the source, as fast as the client reads.
    pieces.send(bytes("abc")).unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "abc");
    drop(pieces);
    assert!(next(&mut body).await.is_none());
    // Nobody waits for such an answer again.
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
    assert_eq!(calls.count(), 2);
    // The bound is inclusive.
    let (app, _) = crate::support::app(layer().max_body(8), |_, _| "01234567");
    get(&app, "/").await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    let (app, _) = crate::support::app(layer().max_body(7), |_, _| "01234567");
    assert_eq!(
        get(&app, "/").await.cache_status(),
        "cache; fwd=uri-miss; detail=too-large"
    );
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_client_that_leaves_a_body_that_is_too_large_stops_it() {
    let (app, _, bodies) = streaming(layer().max_body(4));
    let pieces = bodies.push();
    let response = start(&app, request(Method::GET, "/", &[])).await;
    drop(response);
    pieces.send(bytes("01234")).unwrap();
    idle().await;
    assert!(pieces.is_closed(), "nobody reads on");
}

#[tokio::test]
async fn events_are_passed_on_at_once_and_hold_nobody_up() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let (app, calls) = app(layer(), move |_, _| {
        ([("content-type", "text/event-stream")], source.take())
    });
    let (first, second) = (bodies.push(), bodies.push());
    let one = start(&app, request(Method::GET, "/events", &[])).await;
    let two = start(&app, request(Method::GET, "/events", &[])).await;
    first.send(bytes("data: 1\n\n")).unwrap();
    second.send(bytes("data: 2\n\n")).unwrap();
    assert_eq!(next(&mut one.into_body()).await.unwrap().unwrap(), "data: 1\n\n");
    assert_eq!(next(&mut two.into_body()).await.unwrap().unwrap(), "data: 2\n\n");
    assert_eq!(calls.count(), 2);
    idle().await;
    assert!(first.is_closed() && second.is_closed(), "they end with their clients");
}

#[tokio::test(start_paused = true)]
async fn a_body_without_end_is_given_up() {
    let (app, calls, bodies) = streaming(layer().max_body_time(Duration::from_secs(3)));
    let pieces = bodies.push();
    let mut endless = start(&app, request(Method::GET, "/", &[])).await.into_body();
    let mut along = start(&app, request(Method::GET, "/", &[])).await.into_body();
    assert_eq!(calls.count(), 1);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let later = get(&app, "/").await;
    assert_eq!((later.x_cache(), later.text(), calls.count()), ("MISS", "none left", 2));
    pieces.send(bytes("still there")).unwrap();
    for body in [&mut endless, &mut along] {
        assert_eq!(next(body).await.unwrap().unwrap(), "still there");
    }
}

#[tokio::test]
async fn answers_with_trailers_are_passed_on_and_not_stored() {
    let (app, calls) = app(layer(), |_, _| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let frames = [Frame::data(Bytes::from_static(b"one")), Frame::trailers(trailers)];
        let frames = frames.map(Ok::<_, std::convert::Infallible>);
        Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))))
    });
    for _ in 0..2 {
        let response = start(&app, request(Method::GET, "/", &[])).await;
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
        assert_eq!(collected.to_bytes(), "one");
    }
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn a_length_that_is_known_stays_known() {
    let (app, _) = app(layer(), |_, _| {
        let (pieces, body) = crate::support::streamed();
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            pieces.send(bytes("hello")).unwrap();
        });
        ([("content-length", "5")], body)
    });
    let response = start(&app, request(Method::GET, "/", &[])).await;
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn a_304_needs_no_body_to_wait_for() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let (app, _) = app(layer(), move |_, _| ([("etag", "\"7\"")], source.take()));
    let pieces = bodies.push();
    let reply = get_with(&app, "/", &[("if-none-match", "\"7\"")]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (304, "cache; fwd=uri-miss; fwd-status=200; stored")
    );
    pieces.send(bytes("one")).unwrap();
    drop(pieces);
    idle().await;
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "one"));
}
