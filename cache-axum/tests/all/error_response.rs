//! An error of the cache that a handler returns: the client gets a status that shows whether to retry, and no details
//! of the store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{bytes_only, get, reply, request, send, start};
use axum::Router;
use axum::routing::get as get_route;
use cache_axum::cache_engine::cache_core::{Error as StoreError, ErrorKind, ManualClock};
use cache_axum::cache_engine::{Cache, LoadError};
use cache_axum::{CacheHandle, CacheLayer, Error};
use http::{Method, StatusCode};

/// A failing store's own words, which no client may see.
const SECRET: &str = "redis-7.internal:6379 refused password hunter2";

async fn fail_with(error: impl Into<Error>) -> (StatusCode, String, Error) {
    let error = error.into();
    let app = Router::new().route("/", get_route(async || Err::<(), Error>(error)));
    let response = start(&app, request(Method::GET, "/", &[])).await;
    let logged = response
        .extensions()
        .get::<Error>()
        .expect("the cause, for the log")
        .clone();
    let reply = reply(response).await;
    (reply.status, reply.text().to_owned(), logged)
}

#[tokio::test]
async fn the_status_says_whether_to_try_again_and_the_body_names_no_cause() {
    for (kind, expected) in [
        (ErrorKind::Timeout, StatusCode::SERVICE_UNAVAILABLE),
        (ErrorKind::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
        (ErrorKind::Conflict, StatusCode::SERVICE_UNAVAILABLE),
        (ErrorKind::Auth, StatusCode::INTERNAL_SERVER_ERROR),
        (ErrorKind::InvalidKey, StatusCode::INTERNAL_SERVER_ERROR),
        (ErrorKind::Rejected, StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let (status, text, logged) = fail_with(StoreError::new(kind, SECRET).with_backend("redis")).await;
        assert_eq!(status, expected, "{kind}");
        for secret in ["redis", "6379", "hunter2"] {
            assert!(!text.contains(secret), "{kind}: {text}");
        }
        assert_eq!(logged.status(), expected);
        assert!(logged.to_string().contains(SECRET), "{logged}");
    }
    let throttled = StoreError::new(ErrorKind::Rejected, SECRET).with_retryable(true);
    assert_eq!(fail_with(throttled).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_load_that_failed_is_a_500_and_one_that_took_too_long_a_503() {
    let failed = LoadError::Failed(Arc::new(SECRET.to_owned()));
    let (status, text, logged) = fail_with(failed).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!text.contains("hunter2") && logged.to_string() == SECRET);
    let slow = LoadError::<Infallible>::TimedOut(Duration::from_secs(30));
    assert_eq!(fail_with(slow).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_invalidation_that_fails_fails_the_request() {
    let clock = ManualClock::new();
    let store = bytes_only(&clock);
    let cache = Cache::builder(store.clone()).clock(clock).build();
    let write = async |cache: CacheHandle| {
        cache.invalidate_tag("items").await?;
        Ok::<_, Error>("written")
    };
    let app = Router::new()
        .route("/", get_route(async || "read").put(write))
        .layer(CacheLayer::new(cache));
    assert_eq!(send(&app, request(Method::PUT, "/", &[])).await.status, StatusCode::OK);
    store.fail(ErrorKind::Unavailable);
    let failed = send(&app, request(Method::PUT, "/", &[])).await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&app, "/").await.status, StatusCode::OK, "reads are not affected");
}
