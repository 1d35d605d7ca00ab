//! The bounds of reading along: memory, delays of other callers, and work that nobody waits for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::{Calls, app, get, idle, layer, next, request, start};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use cache_axum::CacheLayer;
use futures_util::FutureExt;
use futures_util::stream::poll_fn;
use http::Method;
use tokio::time::Instant;

const PIECE: usize = 1024;
const MAX_BODY: usize = 64 * PIECE;
const PATIENCE: Duration = Duration::from_secs(5);

/// Bodies that are endless, and how much they have produced.
#[derive(Clone, Default)]
struct Source {
    produced: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source {
    fn body(&self) -> Body {
        self.alive.fetch_add(1, Ordering::SeqCst);
        let (alive, produced) = (Alive(Arc::clone(&self.alive)), Arc::clone(&self.produced));
        let mut is_ready = true;
        Body::from_stream(poll_fn(move |context: &mut Context<'_>| {
            let _ = &alive;
            is_ready = !is_ready;
            if !is_ready {
                produced.fetch_add(PIECE, Ordering::SeqCst);
                return Poll::Ready(Some(Ok::<_, Infallible>(Bytes::from(vec![b'x'; PIECE]))));
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    fn produced(&self) -> usize {
        self.produced.load(Ordering::SeqCst)
    }

    fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }
}

fn endless(layer: CacheLayer) -> (Router, Source, Calls) {
    let source = Source::default();
    let bodies = source.clone();
    let (app, calls) = app(layer.max_body(MAX_BODY), move |_, _| bodies.body());
    (app, source, calls)
}

/// Reads at least so much.
async fn read(body: &mut Body, length: usize) -> usize {
    let mut read = 0;
    while read < length {
        read += next(body).await.unwrap().unwrap().len();
    }
    read
}

/// Reads what can be read without anybody else doing anything.
async fn read_all(body: &mut Body) -> usize {
    let (mut read, mut waited) = (0, 0);
    // The source is not ready each other time that it is asked.
    while waited < 3 {
        idle().await;
        match next(body).now_or_never() {
            Some(piece) => {
                read += piece.unwrap().unwrap().len();
                waited = 0;
            }
            None => waited += 1,
        }
    }
    read
}

/// Two requests that read along with each other.
async fn two(app: &Router) -> (Body, Body) {
    let both = [1, 2].map(|_| {
        let app = app.clone();
        tokio::spawn(async move { start(&app, request(Method::GET, "/", &[])).await })
    });
    let [first, second] = both;
    (first.await.unwrap().into_body(), second.await.unwrap().into_body())
}

#[tokio::test]
async fn a_body_that_outgrows_the_bound_goes_on_for_those_who_have_joined() {
    let (app, _, calls) = endless(layer());
    let (mut first, mut second) = two(&app).await;
    assert_eq!(calls.count(), 1);
    for _ in 0..100 {
        read(&mut first, MAX_BODY / 4).await;
        read(&mut second, MAX_BODY / 4).await;
    }
    assert_eq!(calls.count(), 1);
    let mut newcomer = start(&app, request(Method::GET, "/", &[])).await;
    assert_eq!(calls.count(), 2, "the handler answers who comes now");
    assert_eq!(newcomer.headers()["x-cache"], "MISS");
    read(newcomer.body_mut(), MAX_BODY).await;
}

#[tokio::test]
async fn no_more_is_kept_than_the_bound() {
    let (app, source, _) = endless(layer());
    let (mut first, mut second) = two(&app).await;
    idle().await;
    read_all(&mut first).await;
    assert!(source.produced() <= MAX_BODY + 2 * PIECE, "{}", source.produced());
    // It goes on where the slower one goes on.
    let slow = read(&mut second, MAX_BODY / 2).await;
    read_all(&mut first).await;
    assert!(source.produced() > MAX_BODY + 2 * PIECE);
    assert!(
        source.produced() <= slow + MAX_BODY + 2 * PIECE,
        "{}",
        source.produced()
    );
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_holds_up_the_others_for_a_bound_and_is_cut_off() {
    let (app, source, _) = endless(layer());
    let (mut first, mut second) = two(&app).await;
    let began = Instant::now();
    let length = read(&mut first, 100 * MAX_BODY).await;
    assert!(
        began.elapsed() <= PATIENCE + Duration::from_millis(1),
        "{:?}",
        began.elapsed()
    );
    assert!(source.produced() <= length + 2 * PIECE, "nothing is kept for the other");
    assert!(next(&mut second).await.unwrap().is_err(), "never a clean end");
    assert!(next(&mut second).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_holds_up_the_others_for_a_bound_in_all() {
    let (app, _, _) = endless(layer().max_wait(Duration::from_secs(2)));
    let (mut first, mut second) = two(&app).await;
    let slow = tokio::spawn(async move {
        while let Some(Ok(_)) = next(&mut second).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let began = Instant::now();
    read(&mut first, 10 * MAX_BODY).await;
    assert!(began.elapsed() <= Duration::from_millis(2100), "{:?}", began.elapsed());
    slow.await.unwrap();
}

/// The control: those who keep up are not cut off, however long it takes.
#[tokio::test(start_paused = true)]
async fn who_keeps_up_is_not_cut_off() {
    let (app, _, _) = endless(layer().max_wait(Duration::from_secs(1)));
    let (mut first, mut second) = two(&app).await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        read(&mut first, MAX_BODY / 2).await;
        read(&mut second, MAX_BODY / 2).await;
    }
}

#[tokio::test]
async fn who_leaves_holds_up_nobody() {
    let (app, _, _) = endless(layer());
    let (mut first, second) = two(&app).await;
    idle().await;
    read_all(&mut first).await;
    let waiting = tokio::spawn(async move { read(&mut first, 10 * MAX_BODY).await });
    idle().await;
    assert!(!waiting.is_finished(), "it waits for the other");
    drop(second);
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_body_that_has_outgrown_the_bound_ends_with_its_readers() {
    let (app, source, _) = endless(layer());
    let (first, second) = two(&app).await;
    idle().await;
    drop(first);
    idle().await;
    assert_eq!(source.alive(), 1);
    drop(second);
    assert_eq!(source.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_end_goes_on_for_those_who_have_joined() {
    let bodies = crate::support::Bodies::default();
    let source = bodies.clone();
    let (app, calls) = app(layer().max_body_time(Duration::from_secs(3)), move |_, _| source.take());
    let pieces = bodies.push();
    let (mut first, mut second) = two(&app).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    pieces.send(Ok(Bytes::from_static(b"still there"))).unwrap();
    for body in [&mut first, &mut second] {
        assert_eq!(next(body).await.unwrap().unwrap(), "still there");
    }
    assert_eq!(calls.count(), 1);
    drop(pieces);
    for body in [&mut first, &mut second] {
        assert!(next(body).await.is_none());
    }
}

/// Bodies that come one piece at a time and are abandoned: so many are collected on.
async fn abandoned(layer: CacheLayer, urls: usize) -> (usize, Vec<crate::support::Pieces>, Router) {
    let bodies = crate::support::Bodies::default();
    let source = bodies.clone();
    let (app, _) = app(layer, move |_, _| source.take());
    let mut all = Vec::new();
    for url in 0..urls {
        all.push(bodies.push());
        drop(start(&app, request(Method::GET, &format!("/{url}"), &[])).await);
        idle().await;
    }
    (all.iter().filter(|pieces| !pieces.is_closed()).count(), all, app)
}

#[tokio::test]
async fn bodies_that_nobody_reads_are_bounded_in_number() {
    assert_eq!(abandoned(layer(), 80).await.0, 64);
    assert_eq!(abandoned(layer().max_detached(0), 5).await.0, 0);
    let (alive, pieces, app) = abandoned(layer().max_detached(2), 5).await;
    assert_eq!(alive, 2);
    drop(pieces);
    idle().await;
    assert_eq!(get(&app, "/4").await.x_cache(), "HIT", "the youngest are collected on");
}

/// The control: who reads along keeps a body from being given up.
#[tokio::test]
async fn a_body_that_is_read_along_is_not_given_up() {
    let bodies = crate::support::Bodies::default();
    let source = bodies.clone();
    let (app, calls) = app(layer().max_detached(0), move |_, _| source.take());
    let pieces = bodies.push();
    let (first, mut second) = two(&app).await;
    drop(first);
    idle().await;
    pieces.send(Ok(Bytes::from_static(b"one"))).unwrap();
    assert_eq!(next(&mut second).await.unwrap().unwrap(), "one");
    drop(pieces);
    assert!(next(&mut second).await.is_none());
    idle().await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    assert_eq!(calls.count(), 1);
}
