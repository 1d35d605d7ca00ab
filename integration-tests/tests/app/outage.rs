//! A store that fails under a running application, and comes back.

use std::time::Duration;

use cache_axum::CacheLayer;
use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::server::{App, layer, until};
use crate::store::Own;

/// Two seconds are guaranteed. The rest allows for a busy machine.
const SOON: Duration = Duration::from_secs(6);

pub async fn the_application_outlives_its_store(own: Own) {
    let (app, calls) = App::answering(layer(&own.store()).await, |call, _| call.to_string()).await;
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(app.get("/").await.x_cache(), x_cache);
    }

    own.kill().await;
    for number in 0..10 {
        let reply = app.get("/").await;
        assert_eq!((reply.status, reply.x_cache()), (StatusCode::OK, "MISS"));
        assert_eq!(reply.cache_status(), "cache; fwd=miss; detail=outage");
        assert_eq!(reply.text(), (number + 2).to_string());
    }
    let write = app.send(Method::PUT, "/", &[], "").await;
    assert_eq!(write.status, StatusCode::OK, "a write is not undone by it");
    assert_eq!(write.cache_status(), "cache; fwd=method; detail=invalidation-failed");

    own.restart().await;
    let back = Instant::now();
    let hit = until("it is used again", async || {
        let reply = app.get("/").await;
        assert_eq!(reply.status, StatusCode::OK);
        (reply.x_cache() == "HIT").then_some(reply)
    })
    .await;
    assert!(back.elapsed() < SOON, "after {:?}", back.elapsed());
    // The hit is the last stored response, and not an older one.
    assert_eq!(hit.text(), calls.count().to_string());
    let write = app.send(Method::PUT, "/", &[], "").await;
    assert_eq!(write.cache_status(), "cache; fwd=method");
}

pub async fn a_store_that_hangs_is_soon_left_alone(own: Own) {
    let limit = Duration::from_millis(500);
    let layer = CacheLayer::new(own.store().cache_waiting(limit).await);
    let (app, calls) = App::answering(layer, |call, _| call.to_string()).await;
    let hit = async || (app.get("/").await.x_cache() == "HIT").then_some(());
    until("it is stored", hit).await;

    own.freeze().await;
    let (began, before, requests) = (Instant::now(), calls.count(), 20);
    for _ in 0..requests {
        let reply = app.get("/").await;
        assert_eq!((reply.status, reply.x_cache()), (StatusCode::OK, "MISS"));
        assert_eq!(reply.cache_status(), "cache; fwd=miss; detail=outage");
    }
    assert_eq!(calls.count() - before, requests);
    // If each request waited for the store, it would take twice as long.
    let took = began.elapsed();
    assert!(took < limit * 20 / 2, "{took:?}");

    own.thaw().await;
    let back = Instant::now();
    until("it is used again", hit).await;
    assert!(back.elapsed() < SOON, "after {:?}", back.elapsed());
}
