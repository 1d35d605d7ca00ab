//! Callers that wait for a slow body read it while it arrives.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Bodies, Calls, app, cache, get, get_with, idle, layer, next, request, start};
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;
use cache_axum::{CacheLayer, ClientCaching, StoreFor};
use futures_util::FutureExt;
use http::{HeaderMap, Method};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

fn bytes(text: &'static str) -> Result<Bytes, std::io::Error> {
    Ok(Bytes::from_static(text.as_bytes()))
}

/// An app with these headers, whose bodies the test makes.
fn streaming(layer: CacheLayer, headers: &'static [(&'static str, &'static str)]) -> (Router, Calls, Bodies) {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let (app, calls) = app(layer, move |_, _| {
        let mut response = source.take().into_response();
        for (name, value) in headers {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    });
    (app, calls, bodies)
}

/// The answer to a request, if it is there without anything else having to happen.
async fn now(app: &Router, headers: &[(&str, &str)]) -> Option<Response> {
    let (app, request) = (app.clone(), request(Method::GET, "/", headers));
    let asking = tokio::spawn(async move { start(&app, request).await });
    idle().await;
    asking.now_or_never().map(Result::unwrap)
}

async fn rest(mut body: Body) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = next(&mut body).await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

#[tokio::test]
async fn the_second_client_has_each_piece_when_the_first_has_it() {
    let (app, calls, bodies) = streaming(layer(), &[("content-type", "application/x-ndjson")]);
    let pieces = bodies.push();
    pieces.send(bytes("one ")).unwrap();
    let mut first = start(&app, request(Method::GET, "/", &[])).await.into_body();
    let second = now(&app, &[]).await.expect("nothing to wait for");
    assert_eq!(second.headers()["cache-status"], "cache; fwd=uri-miss; collapsed");
    assert_eq!(second.headers()["content-type"], "application/x-ndjson");
    assert_eq!(second.headers()["age"], "0");
    assert_eq!(second.headers()["cache-control"], "max-age=60");
    let mut second = second.into_body();
    for body in [&mut first, &mut second] {
        assert_eq!(next(body).await.unwrap().unwrap(), "one ");
        assert!(next(body).now_or_never().is_none(), "nothing yet");
    }
    pieces.send(bytes("two")).unwrap();
    idle().await;
    for body in [&mut first, &mut second] {
        assert_eq!(next(body).now_or_never().unwrap().unwrap().unwrap(), "two");
    }
    // One that comes in the middle has it from the beginning.
    let mut third = now(&app, &[]).await.unwrap().into_body();
    assert_eq!(next(&mut third).await.unwrap().unwrap(), "one ");
    drop(pieces);
    assert_eq!(rest(third).await, b"two");
    assert!(next(&mut first).await.is_none() && next(&mut second).await.is_none());
    idle().await;
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.text(), calls.count()), ("HIT", "one two", 1));
}

#[tokio::test]
async fn those_who_wait_when_the_head_comes_read_along() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let gated = crate::support::gated(layer(), move |_| source.take().into_response());
    let pieces = bodies.push();
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let app = gated.app.clone();
            tokio::spawn(async move { start(&app, request(Method::GET, "/", &[])).await })
        })
        .collect();
    idle().await;
    gated.gate.add_permits(1);
    idle().await;
    pieces.send(bytes("one")).unwrap();
    let mut reading = Vec::new();
    for asking in asking {
        let mut body = asking.await.unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
        reading.push(body);
    }
    drop(pieces);
    for mut body in reading {
        assert!(next(&mut body).await.is_none());
    }
    assert_eq!(gated.calls.count(), 1);
}

#[tokio::test]
async fn the_first_client_may_leave() {
    let (app, calls, bodies) = streaming(layer(), &[]);
    let pieces = bodies.push();
    let first = start(&app, request(Method::GET, "/", &[])).await;
    let second = now(&app, &[]).await.unwrap();
    drop(first);
    idle().await;
    pieces.send(bytes("one")).unwrap();
    drop(pieces);
    assert_eq!(rest(second.into_body()).await, b"one");
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_is_broken_for_all() {
    let (app, _, bodies) = streaming(layer(), &[]);
    let pieces = bodies.push();
    pieces.send(bytes("one")).unwrap();
    let first = start(&app, request(Method::GET, "/", &[])).await;
    let second = now(&app, &[]).await.unwrap();
    pieces.send(Err(std::io::Error::other("gone"))).unwrap();
    for response in [first, second] {
        let mut body = response.into_body();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
        let error = next(&mut body).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "gone");
        assert!(next(&mut body).await.is_none());
    }
    idle().await;
    assert_eq!(get(&app, "/").await.text(), "none left", "it is not stored");
}

#[tokio::test]
async fn a_body_that_panics_does_so_for_all() {
    let (app, _) = app(layer(), |_, _| {
        let mut polled = 0;
        Body::from_stream(futures_util::stream::poll_fn(move |context| {
            polled += 1;
            match polled {
                1..3000 => std::task::Poll::Ready(Some(bytes("x"))),
                3000 => {
                    context.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
                _ => std::panic::resume_unwind(Box::new("gone")),
            }
        }))
    });
    let first = start(&app, request(Method::GET, "/", &[])).await;
    let second = start(&app, request(Method::GET, "/", &[])).await;
    for response in [first, second] {
        let read = std::panic::AssertUnwindSafe(response.into_body().collect());
        assert!(read.catch_unwind().await.is_err());
    }
}

#[tokio::test]
async fn trailers_reach_all() {
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let body = Body::new(StreamBody::new(futures_util::stream::poll_fn(move |context| {
        receive.poll_recv(context)
    })));
    let body = Arc::new(Mutex::new(Some(body)));
    let (app, _) = app(layer(), move |_, _| {
        Response::new(body.lock().unwrap().take().unwrap_or_default())
    });
    let first = start(&app, request(Method::GET, "/", &[])).await;
    let second = now(&app, &[]).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    for frame in [Frame::data(Bytes::from_static(b"one")), Frame::trailers(trailers)] {
        send.send(Ok::<_, std::convert::Infallible>(frame)).unwrap();
    }
    for response in [first, second] {
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
        assert_eq!(collected.to_bytes(), "one");
    }
}

#[tokio::test]
async fn conditions_ranges_and_lengths_are_as_for_what_is_stored() {
    let headers = &[("etag", "\"7\""), ("content-length", "10"), ("accept-ranges", "bytes")];
    let (app, calls, bodies) = streaming(layer(), headers);
    let pieces = bodies.push();
    let first = start(&app, request(Method::GET, "/", &[])).await;
    let not_modified = now(&app, &[("if-none-match", "\"7\"")]).await.unwrap();
    assert_eq!(not_modified.status(), 304);
    assert!(rest(not_modified.into_body()).await.is_empty());
    let part = now(&app, &[("range", "bytes=2-4")]).await.unwrap();
    assert_eq!(
        (part.status().as_u16(), &part.headers()["content-range"]),
        (206, &"bytes 2-4/10".parse().unwrap())
    );
    let none = now(&app, &[("range", "bytes=10-")]).await.unwrap();
    assert_eq!(none.status(), 416);
    let whole = now(&app, &[]).await.unwrap();
    assert_eq!(whole.headers()["content-length"], "10");
    pieces.send(bytes("0123456789")).unwrap();
    assert_eq!(rest(part.into_body()).await, b"234", "before the end");
    drop(pieces);
    assert_eq!(rest(whole.into_body()).await, b"0123456789");
    assert_eq!(rest(first.into_body()).await, b"0123456789");
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn a_range_of_unknown_length_is_cut_once_that_is_known() {
    let (app, calls, bodies) = streaming(layer(), &[]);
    let pieces = bodies.push();
    let first = start(&app, request(Method::GET, "/", &[])).await;
    let part = tokio::spawn({
        let app = app.clone();
        async move { get_with(&app, "/", &[("range", "bytes=2-4")]).await }
    });
    idle().await;
    assert!(!part.is_finished());
    pieces.send(bytes("0123456789")).unwrap();
    drop(pieces);
    let part = part.await.unwrap();
    assert_eq!(
        (part.status.as_u16(), part.text(), part.header("content-range")),
        (206, "234", "bytes 2-4/10")
    );
    assert_eq!(rest(first.into_body()).await, b"0123456789");
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn each_selection_reads_its_own_variant() {
    let (app, calls, bodies) = streaming(layer(), &[("vary", "accept-language")]);
    let (german, french) = (bodies.push(), bodies.push());
    german.send(bytes("eins")).unwrap();
    let first = start(&app, request(Method::GET, "/", &[("accept-language", "de")])).await;
    let same = now(&app, &[("accept-language", "de")]).await.unwrap();
    assert_eq!(calls.count(), 1);
    // The handler is asked at once for what it is, and nobody waits for the end of another variant.
    french.send(bytes("un")).unwrap();
    drop(french);
    let other = now(&app, &[("accept-language", "fr")]).await.unwrap();
    assert_eq!(rest(other.into_body()).await, b"un");
    assert_eq!(calls.count(), 2);
    drop(german);
    assert_eq!(rest(same.into_body()).await, b"eins");
    assert_eq!(rest(first.into_body()).await, b"eins");
}

/// The control: what is not for all is read by nobody else.
#[tokio::test]
async fn what_may_not_be_stored_is_not_read_along() {
    let controls: [&'static [(&'static str, &'static str)]; 4] = [
        &[("cache-control", "private")],
        &[("cache-control", "no-store")],
        &[("set-cookie", "session=1")],
        &[("vary", "*")],
    ];
    for headers in controls {
        let (app, calls, bodies) = streaming(layer(), headers);
        let (alice, bob) = (bodies.push(), bodies.push());
        alice.send(bytes("alice")).unwrap();
        bob.send(bytes("bob")).unwrap();
        let first = start(&app, request(Method::GET, "/", &[])).await;
        let second = now(&app, &[]).await.unwrap();
        drop((alice, bob));
        assert_eq!(rest(first.into_body()).await, b"alice");
        assert_eq!(rest(second.into_body()).await, b"bob", "{headers:?}");
        assert_eq!(calls.count(), 2);
    }
}

/// The control: what each request has to have validated is for the one that it was made for.
#[tokio::test]
async fn what_was_never_fresh_is_not_read_along() {
    for control in ["max-age=0", "no-cache"] {
        let bodies = Bodies::default();
        let source = bodies.clone();
        let (app, calls) = app(CacheLayer::shared(cache().0), move |_, _| {
            ([("cache-control", control), ("etag", "\"7\"")], source.take())
        });
        let alice = bodies.push();
        alice.send(bytes("alice")).unwrap();
        let first = start(&app, request(Method::GET, "/", &[])).await;
        let second = tokio::spawn({
            let app = app.clone();
            async move { get(&app, "/").await }
        });
        idle().await;
        drop(alice);
        assert_eq!(rest(first.into_body()).await, b"alice");
        assert_eq!(second.await.unwrap().text(), "none left", "{control}");
        assert_eq!(calls.count(), 2);
    }
}

/// The control: requests with credentials do not read along with others.
#[tokio::test]
async fn requests_with_credentials_do_not_read_along() {
    let (app, calls, bodies) = streaming(layer(), &[]);
    let (alice, bob) = (bodies.push(), bodies.push());
    alice.send(bytes("alice")).unwrap();
    bob.send(bytes("bob")).unwrap();
    let first = start(&app, request(Method::GET, "/", &[])).await;
    let second = now(&app, &[("cookie", "session=1")]).await.unwrap();
    drop((alice, bob));
    assert_eq!(rest(first.into_body()).await, b"alice");
    assert_eq!(rest(second.into_body()).await, b"bob");
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn fields_for_the_caller_alone_stay_with_it() {
    let headers = &[("cache-control", "max-age=60, private=\"x-name\""), ("x-name", "alice")];
    let (app, _, bodies) = streaming(CacheLayer::shared(cache().0), headers);
    let _pieces = bodies.push();
    let first = start(&app, request(Method::GET, "/", &[])).await;
    assert_eq!(first.headers()["x-name"], "alice");
    let second = now(&app, &[]).await.unwrap();
    assert_eq!(second.headers()["cache-status"], "cache; fwd=uri-miss; collapsed");
    assert!(!second.headers().contains_key("x-name"));
}

/// What is loaded from before an invalidation is for nobody who comes after it.
#[tokio::test]
async fn who_comes_after_an_invalidation_does_not_read_along() {
    let (app, calls, bodies) = streaming(layer(), &[]);
    let (old, written, new) = (bodies.push(), bodies.push(), bodies.push());
    old.send(bytes("old")).unwrap();
    let first = start(&app, request(Method::GET, "/", &[])).await;
    let second = now(&app, &[]).await.unwrap();
    drop(written);
    crate::support::send(&app, request(Method::DELETE, "/", &[])).await;
    new.send(bytes("new")).unwrap();
    let third = now(&app, &[]).await.expect("another load");
    drop((old, new));
    assert_eq!(rest(third.into_body()).await, b"new");
    assert_eq!(rest(first.into_body()).await, b"old");
    assert_eq!(rest(second.into_body()).await, b"old");
    assert_eq!(calls.count(), 3);
    assert_eq!(get(&app, "/").await.text(), "new");
}

/// As above, where another process invalidates, so that nothing here knows of it.
#[tokio::test]
async fn who_comes_after_an_invalidation_elsewhere_does_not_read_along() {
    for by_tag in [false, true] {
        let clock = ManualClock::new();
        let backend = Arc::new(crate::support::bytes_only(&clock));
        let layer = || {
            let cache = Cache::builder(Arc::clone(&backend)).clock(clock.clone()).build();
            (
                CacheLayer::new(cache.clone())
                    .ttl(Duration::from_secs(60))
                    .tags(["page"]),
                cache,
            )
        };
        let ((here, _), (there, elsewhere)) = (layer(), layer());
        let (app, calls, bodies) = streaming(here, &[]);
        let (other, _) = crate::support::app(there, |_, _| "");
        let (old, new) = (bodies.push(), bodies.push());
        old.send(bytes("old")).unwrap();
        let first = start(&app, request(Method::GET, "/", &[])).await;
        let second = now(&app, &[]).await.expect("before it, all read along");
        if by_tag {
            elsewhere.invalidate_tag("page").await.unwrap();
        } else {
            crate::support::send(&other, request(Method::DELETE, "/", &[])).await;
        }
        new.send(bytes("new")).unwrap();
        let third = now(&app, &[]).await.expect("another load");
        drop((old, new));
        assert_eq!(rest(first.into_body()).await, b"old");
        assert_eq!(rest(second.into_body()).await, b"old");
        assert_eq!(rest(third.into_body()).await, b"new", "{by_tag}");
        assert_eq!(calls.count(), 2);
    }
}

#[tokio::test]
async fn late_tags_count_for_those_who_read_along() {
    let (cache, _) = cache();
    let bodies = Bodies::default();
    let source = bodies.clone();
    let layer = CacheLayer::new(cache.clone())
        .ttl(Duration::from_secs(60))
        .late_tags(true);
    let (app, calls) = app(layer, move |_, _| (StoreFor::as_usual().tags(["page"]), source.take()));
    let (old, new) = (bodies.push(), bodies.push());
    let first = start(&app, request(Method::GET, "/", &[])).await;
    let second = now(&app, &[]).await.unwrap();
    cache.invalidate_tag("page").await.unwrap();
    let third = tokio::spawn({
        let app = app.clone();
        async move { get(&app, "/").await }
    });
    idle().await;
    for (pieces, text) in [(&old, "old"), (&new, "new")] {
        pieces.send(bytes(text)).unwrap();
    }
    drop((old, new));
    assert_eq!(rest(first.into_body()).await, b"old");
    assert_eq!(rest(second.into_body()).await, b"old");
    assert_eq!(third.await.unwrap().text(), "new");
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn the_age_is_that_of_now_and_counted_once() {
    // What the origin says of its age, what clients are told, and what those get who come three seconds later.
    let origin: &[_] = &[("age", "30"), ("cache-control", "max-age=100")];
    for (shared, caching, fields, expected) in [
        (false, ClientCaching::Lifetime, &[][..], ("3", "max-age=60")),
        (false, ClientCaching::Remaining, &[], ("", "max-age=57")),
        (true, ClientCaching::Lifetime, origin, ("33", "max-age=100")),
    ] {
        let (cache, clock) = cache();
        let layer = if shared {
            CacheLayer::shared(cache)
        } else {
            CacheLayer::new(cache).ttl(Duration::from_secs(60))
        };
        let (app, calls, bodies) = streaming(layer.client_caching(caching), fields);
        let _pieces = bodies.push();
        let _first = start(&app, request(Method::GET, "/", &[])).await;
        idle().await;
        clock.advance(Duration::from_secs(3));
        let second = now(&app, &[]).await.expect("nothing to wait for");
        let value = |name| second.headers().get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!((value("age"), value("cache-control")), expected);
        assert_eq!(calls.count(), 1);
    }
}
