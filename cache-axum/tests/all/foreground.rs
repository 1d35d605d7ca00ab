//! A process that runs only while it handles a request: nothing is left to the time after it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::Future;
use std::time::Duration;

use crate::support::{Calls, Faulty, Reply, app, bytes_only, get, next, reply, request, send, start};
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;
use futures_util::{FutureExt, StreamExt, stream};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;

const SEC: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(60);

/// A process whose runtime is polled only during a request. Each process has a cache of its own over the same store.
struct Process {
    runtime: Runtime,
    app: Router,
    calls: Calls,
}

impl Process {
    fn new<R: IntoResponse>(
        store: &Faulty,
        clock: &ManualClock,
        foreground: bool,
        answer: impl Fn(usize) -> R + Clone + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let cache = Cache::builder(store.clone())
            .clock(clock.clone())
            .backend_timeout(LONG)
            .lease_time(LONG)
            .foreground(foreground)
            .build();
        let layer = CacheLayer::new(cache)
            .ttl(SEC * 10)
            .stale_while_revalidate(LONG)
            .max_wait(LONG);
        let (app, calls) = app(layer, move |call, _| answer(call));
        Self { runtime, app, calls }
    }

    /// Handles one request. What is not done by its end is not done before the next one.
    fn run<F: Future>(&self, request: F) -> F::Output {
        self.runtime.block_on(request)
    }

    fn get(&self) -> Reply {
        self.run(get(&self.app, "/"))
    }
}

/// A store that takes a moment for each call, so that nothing ends at once.
fn store() -> (Faulty, ManualClock) {
    let clock = ManualClock::new();
    let store = bytes_only(&clock);
    store.delay(Duration::from_millis(5));
    (store, clock)
}

/// A body that comes in pieces, with a pause before each.
fn in_pieces(pieces: &'static [&'static str]) -> Body {
    Body::from_stream(stream::iter(pieces).then(|piece| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))
    }))
}

#[test]
fn a_stale_response_is_refreshed_before_the_process_is_frozen() {
    for (foreground, first, second) in [(true, "call 2", "call 2"), (false, "call 1", "call 1")] {
        let (store, clock) = store();
        let process = Process::new(&store, &clock, foreground, |call| format!("call {call}"));
        assert_eq!(process.get().text(), "call 1");
        clock.advance(SEC * 15);
        let reply = process.get();
        assert_eq!(reply.text(), first, "foreground: {foreground}");
        let status = if foreground {
            "cache; fwd=stale; stored"
        } else {
            "cache; hit; ttl=-5"
        };
        assert_eq!(reply.cache_status(), status);
        // Another process on the same store, while the first one is frozen.
        let other = Process::new(&store, &clock, foreground, |_| "none");
        assert_eq!(other.get().text(), second);
    }
}

#[test]
fn a_refresh_that_fails_leaves_the_stale_response_and_no_lease() {
    let (store, clock) = store();
    let answer = |call: usize| match call {
        1 => "call 1".into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let process = Process::new(&store, &clock, true, answer);
    process.get();
    clock.advance(SEC * 15);
    let reply = process.get();
    assert_eq!((reply.text(), reply.x_cache()), ("call 1", "STALE"));
    // Another process may refresh at once.
    let other = Process::new(&store, &clock, true, |_| "new");
    assert_eq!(other.get().text(), "new");
}

#[test]
fn a_streamed_body_is_stored_before_its_last_piece_goes_out() {
    for foreground in [true, false] {
        let (store, clock) = store();
        let process = Process::new(&store, &clock, foreground, |_| in_pieces(&["one ", "two ", "three"]));
        let read = process.get();
        assert_eq!(
            (read.text(), read.cache_status()),
            ("one two three", "cache; fwd=uri-miss; stored")
        );
        let other = Process::new(&store, &clock, foreground, |_| "loaded again");
        let asked = other.run(async { tokio::time::timeout(SEC * 3, get(&other.app, "/")).await });
        match asked {
            Ok(reply) if foreground => assert_eq!((reply.text(), reply.x_cache()), ("one two three", "HIT")),
            // Without it, the store has a lease whose holder is frozen.
            asked => assert!(asked.is_err() && !foreground, "{asked:?}"),
        }
        assert_eq!(other.calls.count(), 0);
    }
}

#[test]
fn a_body_that_is_not_stored_holds_nobody_up() {
    for (name, answer) in [
        ("broken", broken as fn() -> Response),
        ("private", private),
        ("failed", failed),
    ] {
        for foreground in [true, false] {
            let (store, clock) = store();
            let process = Process::new(&store, &clock, foreground, move |_| answer());
            process.run(async {
                let response = start(&process.app, request(Method::GET, "/", &[])).await;
                // It may break off.
                let _ = response.into_body().collect().await;
            });
            let other = Process::new(&store, &clock, foreground, |_| "loaded");
            let asked = other.run(async { tokio::time::timeout(SEC * 3, get(&other.app, "/")).await });
            match asked {
                Ok(reply) => assert_eq!(reply.text(), "loaded", "{name}"),
                Err(_) => assert!(!foreground, "{name}"),
            }
        }
    }
}

fn broken() -> Response {
    let pieces = stream::iter(["one", "two"]).then(|piece| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        match piece {
            "one" => Ok(Bytes::from_static(b"one")),
            _ => Err(std::io::Error::other("broken")),
        }
    });
    Body::from_stream(pieces).into_response()
}

fn private() -> Response {
    ([("cache-control", "private")], in_pieces(&["one ", "two"])).into_response()
}

fn failed() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "failed").into_response()
}

/// The other pieces go out as they come, and nobody waits for a store that hangs for longer than the bound.
#[tokio::test(start_paused = true)]
async fn only_the_last_piece_waits_and_not_for_ever() {
    let clock = ManualClock::new();
    let store = bytes_only(&clock);
    let bodies = crate::support::Bodies::default();
    let source = bodies.clone();
    let cache = Cache::builder(store.clone())
        .clock(clock.clone())
        .backend_timeout(LONG * 60)
        .foreground(true)
        .build();
    let layer = CacheLayer::new(cache).ttl(SEC * 10).max_wait(SEC * 5);
    let (app, _) = app(layer, move |_, _| source.take());
    let pieces = bodies.push();
    pieces.send(Ok("one".into())).unwrap();
    let response = start(&app, request(Method::GET, "/", &[])).await;
    let mut body = response.into_body();
    for (sent, arrives) in [("two", "one"), ("three", "two")] {
        assert!(next(&mut body).now_or_never().is_none(), "it may be the last one");
        pieces.send(Ok(sent.into())).unwrap();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), arrives);
    }
    store.hang();
    drop(pieces);
    let began = tokio::time::Instant::now();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "three");
    assert_eq!(began.elapsed(), SEC * 5);
    assert!(next(&mut body).await.is_none());
}

#[test]
fn other_methods_and_hits_are_as_before() {
    let (store, clock) = store();
    let process = Process::new(&store, &clock, true, |call| format!("call {call}"));
    let head = process.run(send(&process.app, request(Method::HEAD, "/", &[])));
    assert_eq!((head.status, head.text()), (StatusCode::OK, ""));
    process.get();
    let hit = process.get();
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "call 2"));
    let etag = [("if-none-match", hit.header("etag"))];
    let not_modified = process.run(send(&process.app, request(Method::GET, "/", &etag)));
    assert_eq!(not_modified.status, StatusCode::NOT_MODIFIED);
    let posted = process.run(send(&process.app, request(Method::POST, "/", &[])));
    assert_eq!(posted.text(), "call 3");
    assert_eq!(process.get().text(), "call 4", "the write has invalidated");
    let _ = process.run(async { reply(start(&process.app, request(Method::GET, "/", &[])).await).await });
}
