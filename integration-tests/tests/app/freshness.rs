//! Lifetimes by the real clock: the age of a response, when it expires, and the use of a stale one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::IntoResponse;
use cache_axum::CacheLayer;
use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::server::{App, layer, until};
use crate::store::Store;

const SECOND: Duration = Duration::from_secs(1);

pub async fn age_goes_up_beside_the_lifetime(store: Store) {
    let (app, calls) = App::answering(layer(&store).await, |_, _| "hello").await;
    let miss = app.get("/").await;
    assert_eq!((miss.header("age"), miss.max_age()), ("", 60));
    until("it is a second old", async || {
        let hit = app.get("/").await;
        assert_eq!(hit.x_cache(), "HIT");
        let age: u64 = hit.header("age").parse().unwrap();
        assert_eq!(hit.max_age(), 60);
        // Both are rounded down.
        let left = [60 - age, 59 - age].map(|left| format!("cache; hit; ttl={left}"));
        assert!(left.iter().any(|left| *left == hit.cache_status()), "{:?}", hit.headers);
        (age > 0).then_some(hit)
    })
    .await;
    assert_eq!(calls.count(), 1);
}

pub async fn an_answer_ends_with_its_lifetime(store: Store) {
    let lifetime = Duration::from_millis(1500);
    let layer = CacheLayer::new(store.cache().await).ttl(lifetime);
    let (app, _) = App::answering(layer, |call, _| call.to_string()).await;
    let (began, first) = (Instant::now(), app.get("/").await);
    let stored_by = began.elapsed();
    assert_eq!(first.text(), "1");
    let mut hits = 0;
    // By HEAD, which stores nothing. A load just before the end, when the copy is stale by our clock and still there by
    // the store's, would take the end for an invalidation.
    let ended = until("it ends", async || {
        let head = app.send(Method::HEAD, "/", &[], "").await;
        if head.x_cache() == "HIT" {
            hits += 1;
            return None;
        }
        Some(began.elapsed())
    })
    .await;
    tokio::time::sleep(SECOND).await;
    let reply = app.get("/").await;
    assert_ne!(reply.text(), "1");
    assert_eq!(reply.cache_status(), "cache; fwd=uri-miss; stored");
    assert!(ended >= lifetime, "after {ended:?}");
    // There may be no hit if the machine stood still for so long.
    assert!(hits > 0 || stored_by >= SECOND);
}

pub async fn a_stale_answer_is_given_while_it_is_refreshed(store: Store) {
    let layer = CacheLayer::new(store.cache().await)
        .ttl(SECOND)
        .stale_while_revalidate(Duration::from_secs(300));
    let (app, calls) = App::answering(layer, |call, _| call.to_string()).await;
    app.get("/").await;
    let stale = until("it is stale", async || {
        let reply = app.get("/").await;
        (reply.x_cache() != "HIT").then_some(reply)
    })
    .await;
    assert_eq!(
        (stale.x_cache(), stale.text()),
        ("STALE", "1"),
        "{}",
        stale.cache_status()
    );
    let fresh = until("it is refreshed", async || {
        let reply = app.get("/").await;
        assert_ne!(reply.x_cache(), "MISS", "nobody waits for the handler");
        (reply.text() != "1").then_some(reply)
    })
    .await;
    assert!(calls.count() >= fresh.text().parse().unwrap());
}

pub async fn a_stale_answer_stands_in_for_a_failing_handler(store: Store) {
    let layer = CacheLayer::new(store.cache().await)
        .ttl(SECOND)
        .stale_if_error(Duration::from_secs(300));
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    let (app, _) = App::answering(layer, move |call, _| match is_broken.load(Ordering::SeqCst) {
        true => (StatusCode::SERVICE_UNAVAILABLE, "down").into_response(),
        false => call.to_string().into_response(),
    })
    .await;
    assert_eq!(app.get("/").await.text(), "1");
    broken.store(true, Ordering::SeqCst);
    // A response that becomes stale while it is sent is still answered without a call of the handler.
    let stale = until("it is stale", async || {
        let reply = app.get("/").await;
        reply.cache_status().contains("fwd=").then_some(reply)
    })
    .await;
    assert_eq!(
        (stale.status, stale.text(), stale.x_cache()),
        (StatusCode::OK, "1", "STALE")
    );
    assert_eq!(stale.cache_status(), "cache; fwd=stale; fwd-status=503");
    let never_seen = app.get("/other").await;
    assert_eq!(
        never_seen.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "there is no copy of it"
    );
    broken.store(false, Ordering::SeqCst);
    assert_ne!(app.get("/").await.text(), "1");
}
