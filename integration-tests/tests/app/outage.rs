//! A store that goes away under a running application, and comes back.

use http::{Method, StatusCode};

use crate::server::{App, layer, until};
use crate::store::Own;

pub async fn the_application_outlives_its_store(own: Own) {
    let (app, calls) = App::answering(layer(&own.store()).await, |call, _| call.to_string()).await;
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(app.get("/").await.x_cache(), x_cache);
    }

    own.kill().await;
    for number in 0..10 {
        let reply = app.get("/").await;
        assert_eq!((reply.status, reply.x_cache()), (StatusCode::OK, "MISS"));
        assert_eq!(reply.cache_status(), "cache; fwd=uri-miss; detail=outage");
        assert_eq!(reply.text(), (number + 2).to_string());
    }
    let write = app.send(Method::PUT, "/", &[], "").await;
    assert_eq!(write.status, StatusCode::OK, "a write is not undone by it");
    assert_eq!(write.cache_status(), "cache; fwd=method; detail=invalidation-failed");

    own.restart().await;
    let hit = until("it is used again", async || {
        let reply = app.get("/").await;
        assert_eq!(reply.status, StatusCode::OK);
        (reply.x_cache() == "HIT").then_some(reply)
    })
    .await;
    // It is what was stored last, and nothing from before.
    assert_eq!(hit.text(), calls.count().to_string());
    let write = app.send(Method::PUT, "/", &[], "").await;
    assert_eq!(write.cache_status(), "cache; fwd=method");
}
