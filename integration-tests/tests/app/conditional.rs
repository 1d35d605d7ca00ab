//! Conditional requests.

use http::StatusCode;

use crate::server::{App, layer};
use crate::store::Store;

const TAG: &str = "\"8f21c6eeea2168b10364a0a711290bf9\"";

pub async fn whoever_has_it_is_told_that_it_has_not_changed(store: Store) {
    let (app, calls) = App::answering(layer(&store).await, |_, _| ([("x-more", "1")], "hello")).await;
    let weak = format!("W/{TAG}");
    let list = format!("\"other\", {TAG}, W/\"more\"");
    // The first of them is the miss.
    for field in [TAG, TAG, &weak, &list, "*"] {
        let reply = app.get_with("/", &[("if-none-match", field)]).await;
        assert_eq!(reply.status, StatusCode::NOT_MODIFIED, "{field}");
        assert_eq!(
            (reply.header("etag"), reply.header("x-more"), reply.text()),
            (TAG, "1", "")
        );
        assert_eq!(reply.header("content-length"), "");
    }
    let whole = app.get("/").await;
    assert_eq!(
        (whole.text(), whole.x_cache(), whole.header("etag")),
        ("hello", "HIT", TAG)
    );
    assert_eq!(calls.count(), 1);
}

pub async fn whoever_has_another_gets_the_whole(store: Store) {
    let (app, _) = App::answering(layer(&store).await, |_, _| "hello").await;
    for x_cache in ["MISS", "HIT", "HIT"] {
        let fields = "\"other\", \"5d41\"";
        let reply = app.get_with("/", &[("if-none-match", fields)]).await;
        assert_eq!(
            (reply.status, reply.text(), reply.x_cache()),
            (StatusCode::OK, "hello", x_cache)
        );
    }
}
