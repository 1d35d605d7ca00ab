//! Bodies that are too large for the store, and bodies that take their time.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;

use crate::server::{App, layer, streamed};
use crate::store::Store;

pub async fn what_the_store_cannot_take_is_answered_and_not_stored(store: Store) {
    let limit = store.backend().await.limits().value_bytes.unwrap();
    let layer = layer(&store).await.max_body(limit * 2);
    let (app, calls) = App::answering(layer, move |call, _| Bytes::from(vec![call as u8; limit + 1])).await;
    for call in 1..=2 {
        let reply = app.get("/").await;
        assert_eq!((reply.status, reply.x_cache()), (StatusCode::OK, "MISS"));
        assert_eq!(reply.cache_status(), "cache; fwd=uri-miss; detail=too-large");
        assert!(reply.body == vec![call; limit + 1], "{} bytes", reply.body.len());
        assert_eq!(calls.count(), usize::from(call));
    }
}

pub async fn a_streamed_body_is_passed_on_at_once_and_stored(store: Store) {
    let (pieces, body) = streamed();
    let body = Arc::new(Mutex::new(Some(body)));
    let (app, calls) = App::answering(layer(&store).await, move |_, _| {
        let body = body.lock().unwrap().take();
        body.expect("it is asked once")
    })
    .await;
    pieces.send("one ").unwrap();
    let mut answer = app.open(Method::GET, "/", &[], "").await.into_body();
    let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one ", "it is there before the rest is");
    pieces.send("two").unwrap();
    drop(pieces);
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "two");
    for _ in 0..2 {
        let hit = app.get("/").await;
        assert_eq!(
            (hit.x_cache(), hit.text()),
            ("HIT", "one two"),
            "{}",
            hit.cache_status()
        );
    }
    assert_eq!(calls.count(), 1);
}
