//! The memory that a body takes while it is collected: its own bytes, however small its chunks are and however slowly
//! it is read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::poll_fn;
use http::Method;
use http_body_util::BodyExt;
use support::{app, get, idle, layer, next, request, start};

const LENGTH: usize = 128 * 1024;

/// A body that is `piece` over and over, `count` times, and is not ready each time before it goes on.
fn pieces(piece: &'static [u8], count: usize, ready: bool) -> Body {
    let mut left = count;
    let mut waited = true;
    Body::from_stream(poll_fn(move |context: &mut Context<'_>| {
        waited = ready || !waited;
        if !waited {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        left = match left.checked_sub(1) {
            Some(left) => left,
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok::<_, Infallible>(Bytes::from_static(piece))))
    }))
}

/// What it takes to answer "/" while the client reads nothing, until the body is stored.
fn measured(app: &Router) -> AllocationInfo {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let get = |uri| {
        let request = request(Method::GET, uri, &[]);
        runtime.block_on(start(app, request))
    };
    // What is set up once is set up by another URL.
    get("/other");
    measure(|| {
        let unread = get("/");
        runtime.block_on(async {
            for turn in 0..100 * LENGTH {
                tokio::task::yield_now().await;
                if turn % 64 == 0 && get_status(app).await == "HIT" {
                    break;
                }
            }
            let read = unread.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(read.len(), LENGTH);
        });
    })
}

async fn get_status(app: &Router) -> String {
    let request = request(Method::GET, "/", &[("cache-control", "only-if-cached")]);
    let response = start(app, request).await;
    response.headers()["x-cache"].to_str().unwrap().to_owned()
}

#[test]
fn a_body_takes_its_own_length_whatever_its_pieces() {
    for (piece, ready) in [(&b"0"[..], true), (b"0", false), (b"01", false)] {
        // However busy the machine is.
        let layer = layer().max_body_time(Duration::from_secs(600));
        let (app, _) = app(layer, move |_, _| pieces(piece, LENGTH / piece.len(), ready));
        let taken = measured(&app);
        println!(
            "{} bytes at most for {LENGTH}, by pieces of {}",
            taken.bytes_max,
            piece.len()
        );
        // What is collected, what it becomes in one piece, and what the client of this test collects.
        assert!(taken.bytes_max < 5 * LENGTH as u64, "{} bytes", taken.bytes_max);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_empty_pieces_holds_nobody_up_and_is_given_up() {
    // It has an end only so that the test has one where it fails.
    const ENOUGH: usize = 2_000_000;
    let frames = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&frames);
    let (app, _) = app(layer().max_body_time(Duration::from_secs(3)), move |_, parts| {
        if parts.uri.path() != "/empty" {
            return Body::from("other");
        }
        let count = Arc::clone(&count);
        Body::from_stream(poll_fn(move |_| {
            let polled = count.fetch_add(1, Ordering::SeqCst);
            Poll::Ready((polled < ENOUGH).then(|| Ok::<_, Infallible>(Bytes::new())))
        }))
    });
    let mut endless = start(&app, request(Method::GET, "/empty", &[])).await.into_body();
    assert_eq!(get(&app, "/other").await.text(), "other");
    assert!(frames.load(Ordering::SeqCst) < ENOUGH, "others go on meanwhile");
    assert!(next(&mut endless).now_or_never().is_none(), "nothing has come");
    tokio::time::advance(Duration::from_secs(4)).await;
    idle().await;
    let frames_until_then = frames.load(Ordering::SeqCst);
    idle().await;
    assert_eq!(
        frames.load(Ordering::SeqCst),
        frames_until_then,
        "nobody collects it any more"
    );
    assert!(next(&mut endless).now_or_never().is_some(), "it is passed on as it is");
}
