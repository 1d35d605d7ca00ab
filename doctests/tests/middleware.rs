//! The chapter "Caching endpoints" says on which side of the layer to put other middleware. These tests show the
//! reasons.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, COOKIE, ETAG, ORIGIN, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router, routing::get};
use larder::prelude::*;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;

fn layer() -> CacheLayer {
    CacheLayer::new(Cache::builder(MemoryBackend::default()).build())
}

async fn ask_with(app: &Router, fields: &[(&str, &str)]) -> Response {
    let mut request = Request::get("/").header("host", "shop.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn ask(app: &Router) -> Response {
    ask_with(app, &[]).await
}

fn outcome(response: &Response) -> &str {
    response.headers()["x-cache"].to_str().unwrap()
}

/// Counts the requests that reach `app`.
fn counting(app: Router, calls: &Arc<AtomicU64>) -> Router {
    let calls = Arc::clone(calls);
    app.layer(from_fn(move |request: Request, next: Next| {
        calls.fetch_add(1, Ordering::Relaxed);
        next.run(request)
    }))
}

#[tokio::test]
async fn what_is_outside_runs_for_each_hit_and_what_is_inside_does_not() {
    let (inside, outside) = (Arc::default(), Arc::default());
    let app = Router::new().route("/", get(async || "…"));
    let app = counting(counting(app, &inside).layer(layer()), &outside);
    for _ in 0..3 {
        ask(&app).await;
    }
    assert_eq!(inside.load(Ordering::Relaxed), 1);
    assert_eq!(outside.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_user_whom_an_outer_layer_names_has_responses_of_their_own() {
    #[derive(Clone)]
    struct Session(String);

    async fn authenticate(mut request: Request, next: Next) -> Response {
        let user = request.headers()[COOKIE].to_str().unwrap().to_owned();
        request.extensions_mut().insert(Session(user));
        next.run(request).await
    }

    let app: Router = Router::new()
        .route("/", get(async |Extension(session): Extension<Session>| session.0))
        .layer(layer().per_user(|request| Some(request.extensions.get::<Session>()?.0.clone())))
        .layer(from_fn(authenticate));
    for (user, expected) in [("ada", "MISS"), ("ada", "HIT"), ("grace", "MISS"), ("grace", "HIT")] {
        let response = ask_with(&app, &[("cookie", user)]).await;
        assert_eq!(outcome(&response), expected);
        assert_eq!(to_bytes(response.into_body(), 1_000).await.unwrap(), user);
    }
}

#[tokio::test]
async fn a_session_that_is_set_inside_keeps_the_response_out_of_the_store() {
    async fn session(request: Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        response
            .headers_mut()
            .insert(SET_COOKIE, HeaderValue::from_static("session=1"));
        response
    }

    let inside: Router = Router::new()
        .route("/", get(async || "…"))
        .layer(from_fn(session))
        .layer(layer());
    ask(&inside).await;
    let response = ask(&inside).await;
    assert_eq!(outcome(&response), "MISS");
    assert!(
        response.headers()["cache-status"]
            .to_str()
            .unwrap()
            .contains("detail=set-cookie")
    );

    let outside: Router = Router::new()
        .route("/", get(async || "…"))
        .layer(layer())
        .layer(from_fn(session));
    ask(&outside).await;
    let response = ask(&outside).await;
    assert_eq!(outcome(&response), "HIT");
    assert!(response.headers().contains_key(SET_COOKIE));
}

#[tokio::test]
async fn a_request_id_that_is_made_inside_is_replayed() {
    #[derive(Clone, Default)]
    struct Counter(Arc<AtomicU64>);

    impl MakeRequestId for Counter {
        fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
            let id = self.0.fetch_add(1, Ordering::Relaxed);
            Some(RequestId::new(id.to_string().parse().unwrap()))
        }
    }

    fn with_ids(app: Router) -> Router {
        app.layer(PropagateRequestIdLayer::x_request_id())
            .layer(SetRequestIdLayer::x_request_id(Counter::default()))
    }

    let app = || Router::new().route("/", get(async || "…"));
    let inside = with_ids(app()).layer(layer());
    let outside = with_ids(app().layer(layer()));
    for _ in 0..2 {
        assert_eq!(ask(&inside).await.headers()["x-request-id"], "0");
    }
    assert_eq!(ask(&outside).await.headers()["x-request-id"], "0");
    let second = ask(&outside).await;
    assert_eq!(outcome(&second), "HIT");
    assert_eq!(second.headers()["x-request-id"], "1");
}

#[tokio::test]
async fn response_extensions_do_not_survive_a_hit() {
    #[derive(Clone)]
    struct Note;

    let app: Router = Router::new()
        .route("/", get(async || Extension(Note).into_response()))
        .layer(layer());
    let miss = ask(&app).await;
    assert!(miss.extensions().get::<Note>().is_some());
    let _ = to_bytes(miss.into_body(), 1_000).await.unwrap();
    let hit = ask(&app).await;
    assert_eq!(outcome(&hit), "HIT");
    assert!(hit.extensions().get::<Note>().is_none());
}

#[tokio::test]
async fn task_locals_of_the_server_are_not_there() {
    tokio::task_local! { static NAME: &'static str; }

    let app: Router = Router::new()
        .route("/", get(async || NAME.try_with(|name| *name).unwrap_or("nobody")))
        .layer(layer());
    let response = NAME.scope("ada", ask(&app)).await;
    assert_eq!(to_bytes(response.into_body(), 1_000).await.unwrap(), "nobody");
}

#[tokio::test]
async fn compression_inside_stores_each_coding_with_a_tag_of_its_own() {
    let app: Router = Router::new()
        .route("/", get(async || "a".repeat(1_000)))
        .layer(CompressionLayer::new())
        .layer(layer());
    let mut tags = Vec::new();
    for coding in ["gzip", "identity"] {
        ask_with(&app, &[(ACCEPT_ENCODING.as_str(), coding)]).await;
    }
    for coding in ["gzip", "identity"] {
        let hit = ask_with(&app, &[(ACCEPT_ENCODING.as_str(), coding)]).await;
        assert_eq!(outcome(&hit), "HIT");
        assert_eq!(hit.headers().contains_key(CONTENT_ENCODING), coding == "gzip");
        tags.push(hit.headers()[ETAG].clone());
    }
    assert_ne!(tags[0], tags[1]);
}

#[tokio::test]
async fn cors_inside_stores_a_variant_for_each_origin() {
    let app = || Router::new().route("/", get(async || "…"));
    let cors = || CorsLayer::new().allow_origin(AllowOrigin::mirror_request());
    let inside = app().layer(cors()).layer(layer());
    let outside = app().layer(layer()).layer(cors());
    for (app, second) in [(inside, "MISS"), (outside, "HIT")] {
        // The first response tells the layer which fields responses vary by.
        for origin in ["https://a.example", "https://a.example"] {
            ask_with(&app, &[(ORIGIN.as_str(), origin)]).await;
        }
        let other = ask_with(&app, &[(ORIGIN.as_str(), "https://b.example")]).await;
        assert_eq!(outcome(&other), second);
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_outside_ends_the_wait_and_not_the_handler() {
    let limit = || TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(1));
    let slow = |done: &Arc<Notify>| {
        let done = Arc::clone(done);
        let handler = async move || {
            tokio::time::sleep(Duration::from_secs(2)).await;
            done.notify_one();
            "…"
        };
        Router::new().route("/", get(handler))
    };
    let store = MemoryBackend::builder().background_purge(false).build();
    let layer = CacheLayer::new(Cache::builder(store).build());

    let done = Arc::default();
    let outside = slow(&done).layer(layer.clone().namespace("outside")).layer(limit());
    assert_eq!(ask(&outside).await.status(), StatusCode::REQUEST_TIMEOUT);
    done.notified().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(outcome(&ask(&outside).await), "HIT");

    let done = Arc::<Notify>::default();
    let inside = slow(&done).layer(limit()).layer(layer.namespace("inside"));
    assert_eq!(ask(&inside).await.status(), StatusCode::REQUEST_TIMEOUT);
    let ended = tokio::time::timeout(Duration::from_secs(60), done.notified()).await;
    assert!(ended.is_err(), "the handler went on");
}
