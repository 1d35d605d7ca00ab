//! The entity-tags that the layer generates distinguish representations, and not only contents.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{app, get, get_with, layer};
use axum::response::Response;
use http::StatusCode;

#[tokio::test]
async fn media_type_and_coding_count() {
    let (app, _) = app(layer(), |_, request| {
        let mut response = Response::builder();
        for (name, value) in request
            .uri
            .query()
            .into_iter()
            .flat_map(|query| query.split('&'))
            .filter_map(|part| part.split_once('='))
        {
            response = response.header(name, value);
        }
        response.body(axum::body::Body::from("same")).unwrap()
    });
    let mut tags = Vec::new();
    for url in [
        "/",
        "/?content-type=text/plain",
        "/?content-type=text/html",
        "/?content-encoding=gzip",
        "/?content-encoding=br",
        "/?content-encoding=gzip&content-type=text/plain",
        "/?content-type=gzip",
    ] {
        let (miss, hit) = (get(&app, url).await, get(&app, url).await);
        assert_eq!(miss.header("etag"), hit.header("etag"), "{url}");
        assert!(!tags.contains(&hit.header("etag").to_owned()), "{url}");
        tags.push(hit.header("etag").to_owned());
    }
}

/// The control: the same representation has the same tag, whichever URL it is at and whatever else it says.
#[tokio::test]
async fn the_same_representation_has_the_same_tag() {
    let (app, _) = app(layer(), |call, _| {
        (
            [("x-call", call.to_string()), ("content-type", "text/plain".into())],
            "same",
        )
    });
    let tag = get(&app, "/a").await.header("etag").to_owned();
    assert_eq!(get(&app, "/b").await.header("etag"), tag);
}

#[tokio::test]
async fn two_representations_of_a_url_do_not_confirm_each_other() {
    let (app, _) = app(layer(), |_, request| {
        let accept = request
            .headers
            .get("accept")
            .map_or("text/plain", |value| value.to_str().unwrap());
        (
            [("vary", "accept".to_owned()), ("content-type", accept.to_owned())],
            "same",
        )
    });
    let plain = get_with(&app, "/", &[("accept", "text/plain")]).await;
    let html = [("accept", "text/html"), ("if-none-match", plain.header("etag"))];
    for _ in 0..2 {
        assert_eq!(get_with(&app, "/", &html).await.status, StatusCode::OK);
    }
    let again = [("accept", "text/plain"), ("if-none-match", plain.header("etag"))];
    assert_eq!(get_with(&app, "/", &again).await.status, StatusCode::NOT_MODIFIED);
}
