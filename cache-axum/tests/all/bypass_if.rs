//! Requests that a condition of the layer lets go past it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{app, get, get_with, layer, request, send};
use http::Method;

#[tokio::test]
async fn the_handler_answers_and_nothing_is_stored() {
    let layer = layer()
        .bypass_if(|request| request.headers.contains_key("x-preview"))
        .bypass_if(|request| request.uri.query() == Some("raw"));
    let (app, calls) = app(layer, |call, _| format!("call {call}"));
    let preview = [("x-preview", "1")];
    for call in 1..3 {
        let reply = get_with(&app, "/", &preview).await;
        assert_eq!(reply.text(), format!("call {call}"));
        assert_eq!(reply.cache_status(), "cache; fwd=bypass; detail=bypass-if");
    }
    assert_eq!(get(&app, "/").await.text(), "call 3");
    assert_eq!(get_with(&app, "/", &preview).await.text(), "call 4");
    let hit = get(&app, "/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "call 3"), "what is stored stays");
    for call in 5..7 {
        assert_eq!(
            get(&app, "/?raw").await.text(),
            format!("call {call}"),
            "one of the conditions suffices"
        );
    }
    assert_eq!(calls.count(), 6);
}

/// A write that bypasses the layer changes what is stored all the same.
#[tokio::test]
async fn a_write_invalidates() {
    let layer = layer().bypass_if(|request| request.headers.contains_key("x-preview"));
    let (app, _) = app(layer, |call, _| format!("call {call}"));
    get(&app, "/").await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    send(&app, request(Method::POST, "/", &[("x-preview", "1")])).await;
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}
