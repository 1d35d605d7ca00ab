//! The number of loads whose clients have disconnected is bounded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{cache, get, idle, layer, request};
use axum::Router;
use cache_axum::CacheLayer;
use futures_util::FutureExt;
use http::Method;
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// Counts the handlers that run.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn slow(layer: CacheLayer) -> (Router, Arc<AtomicUsize>, Arc<Semaphore>) {
    let (running, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (count, inner) = (Arc::clone(&running), Arc::clone(&gate));
    let handler = move || {
        let (running, gate) = (Running::new(&count), Arc::clone(&inner));
        async move {
            gate.acquire().await.unwrap().forget();
            drop(running);
            "…"
        }
    };
    (Router::new().fallback(handler).layer(layer), running, gate)
}

/// Asks for so many URLs, and goes away.
async fn leave_behind(app: &Router, requests: usize) {
    for number in 0..requests {
        let asking = app.clone().oneshot(request(Method::GET, &format!("/{number}"), &[]));
        let mut asking = Box::pin(asking);
        assert!(asking.as_mut().now_or_never().is_none());
        idle().await;
        drop(asking);
        idle().await;
    }
}

#[tokio::test]
async fn no_more_than_the_bound_go_on_and_the_oldest_are_cancelled() {
    let (app, running, gate) = slow(layer().max_detached(10));
    leave_behind(&app, 50).await;
    assert_eq!(running.load(Ordering::SeqCst), 10);
    gate.add_permits(10);
    idle().await;
    assert_eq!(running.load(Ordering::SeqCst), 0);
    for (url, x_cache) in [("/49", "HIT"), ("/40", "HIT")] {
        assert_eq!(get(&app, url).await.x_cache(), x_cache, "{url}");
    }
    gate.add_permits(1);
    assert_eq!(get(&app, "/39").await.x_cache(), "MISS");
}

#[tokio::test]
async fn the_default_is_64() {
    let (app, running, _gate) = slow(layer());
    leave_behind(&app, 80).await;
    assert_eq!(running.load(Ordering::SeqCst), 64);
}

#[tokio::test]
async fn they_can_be_cancelled_at_once() {
    let (app, running, _gate) = slow(layer().max_detached(0));
    leave_behind(&app, 5).await;
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

/// The control: loads whose clients wait are not bounded.
#[tokio::test]
async fn clients_who_stay_have_their_answers() {
    let (app, running, gate) = slow(layer().max_detached(2));
    let asking: Vec<_> = (0..20)
        .map(|number| {
            let app = app.clone();
            tokio::spawn(async move { get(&app, &format!("/{number}")).await })
        })
        .collect();
    idle().await;
    assert_eq!(running.load(Ordering::SeqCst), 20);
    gate.add_permits(20);
    for asking in asking {
        assert_eq!(asking.await.unwrap().text(), "…");
    }
}

#[tokio::test]
async fn those_who_wait_for_a_cancelled_load_get_their_answer() {
    let (app, running, gate) = slow(layer().max_detached(0));
    let mut first = Box::pin(app.clone().oneshot(request(Method::GET, "/", &[])));
    assert!(first.as_mut().now_or_never().is_none());
    idle().await;
    let other = app.clone();
    let waiting = tokio::spawn(async move { get(&other, "/").await });
    idle().await;
    drop(first);
    idle().await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
    gate.add_permits(1);
    let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert_eq!(waited.unwrap().unwrap().text(), "…");
}

#[tokio::test(start_paused = true)]
async fn refreshes_that_hang_are_bounded_too() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache)
        .ttl(Duration::from_secs(10))
        .stale_while_revalidate(Duration::from_secs(600))
        .max_detached(10);
    let (app, running, gate) = slow(layer);
    gate.add_permits(30);
    for number in 0..30 {
        get(&app, &format!("/{number}")).await;
    }
    clock.advance(Duration::from_secs(11));
    for number in 0..30 {
        assert_eq!(get(&app, &format!("/{number}")).await.x_cache(), "STALE");
    }
    idle().await;
    // Each has the time for which others would wait.
    assert_eq!(running.load(Ordering::SeqCst), 30);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(running.load(Ordering::SeqCst), 10);
    // Those that were not cancelled are stored.
    gate.add_permits(10);
    idle().await;
    assert_eq!(running.load(Ordering::SeqCst), 0);
    assert_eq!(get(&app, "/29").await.x_cache(), "HIT");
    assert_eq!(get(&app, "/0").await.x_cache(), "STALE", "and is refreshed again");
    idle().await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
}
