//! Invalidation from outside, over real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Calls, cache};
use axum::Router;
use axum::routing::get;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::{ErrorKind, ManualClock};
use cache_axum::{CacheLayer, PurgeRouter};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_layer::layer_fn;

const TOKEN: &str = "a-long-random-text";

/// An app whose answers are numbered, with a purge router, and the cache behind it.
struct App {
    base: String,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    calls: Calls,
    cache: Cache,
}

impl App {
    async fn start(cache: Cache) -> Self {
        let calls = Calls::default();
        let layer = CacheLayer::new(cache.clone())
            .ttl(Duration::from_secs(60))
            .stale_while_revalidate(Duration::from_secs(60));
        let counter = calls.clone();
        let handler = move || async move { counter.add().to_string() };
        let app = Router::new()
            .route("/items", get(handler).layer(layer.clone()))
            .nest("/purge", PurgeRouter::with_token(&layer, TOKEN).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            base,
            client: Client::builder(TokioExecutor::new()).build_http(),
            calls,
            cache,
        }
    }

    async fn get(&self) -> (String, String) {
        let request = Request::get(format!("{}/items", self.base));
        let response = self
            .client
            .request(request.body(Full::default()).unwrap())
            .await
            .unwrap();
        let x_cache = response.headers()["x-cache"].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (x_cache, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn post(&self, authorization: Option<&str>, body: impl Into<bytes::Bytes>) -> (StatusCode, Value) {
        let mut request = Request::post(format!("{}/purge", self.base));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let response = self
            .client
            .request(request.body(Full::new(body.into())).unwrap())
            .await
            .unwrap();
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn purge(&self, body: Value) -> (StatusCode, Value) {
        self.post(Some(&format!("Bearer {TOKEN}")), body.to_string()).await
    }
}

#[tokio::test]
async fn each_kind_reaches_what_it_names() {
    let app = App::start(cache().0).await;
    let users = app.cache.with_namespace("users");
    let fill = async || {
        app.get().await;
        users.with_tags(["user:42"]).set("42", 1_u32).await.unwrap();
        users.set("43", 1_u32).await.unwrap();
        app.cache.set("7", 1_u32).await.unwrap();
    };
    // Whether the URL, the tagged user, the other user, and the key of the layer's namespace are still there.
    let left = async || {
        let url = app.get().await.0 == "HIT";
        let tagged = users.get::<u32>("42").await.unwrap().is_some();
        let other = users.get::<u32>("43").await.unwrap().is_some();
        (url, tagged, other, app.cache.get::<u32>("7").await.unwrap().is_some())
    };
    let cases = [
        (json!({"url": "/items"}), (false, true, true, true)),
        (json!({"url": format!("{}/items", app.base)}), (false, true, true, true)),
        (json!({"url": "/other"}), (true, true, true, true)),
        (json!({"key": "43", "namespace": "users"}), (true, true, false, true)),
        (json!({"key": "7"}), (true, true, true, false)),
        (json!({"tag": "user:42"}), (true, false, true, true)),
        (json!({"tags": ["user:42", "user:1"]}), (true, false, true, true)),
        (json!({"namespace": "users"}), (true, false, false, true)),
        (json!({"all": true}), (false, false, false, false)),
    ];
    for (order, expected) in cases {
        fill().await;
        let (status, answer) = app.purge(order.clone()).await;
        assert_eq!(status, StatusCode::OK, "{order}: {answer}");
        assert_eq!(answer["soft"], json!(false));
        assert_eq!(left().await, expected, "{order}");
    }
    fill().await;
    let (_, answer) = app.purge(json!({"tag": "user:42"})).await;
    assert_eq!(answer, json!({"purged": "tag", "tags": ["user:42"], "soft": false}));
    let (_, answer) = app.purge(json!({"namespace": "users"})).await;
    assert_eq!(answer["removed"], json!(2));
}

#[tokio::test]
async fn an_answer_tells_how_much_was_removed() {
    let app = App::start(cache().0).await;
    app.get().await;
    app.cache.set("7", 1_u32).await.unwrap();
    let cases = [
        (json!({"url": "/items"}), json!(1)),
        (json!({"url": "/items"}), json!(0)),
        (json!({"key": "7"}), json!(1)),
        (json!({"key": "7"}), json!(0)),
        (json!({"namespace": "users"}), json!(0)),
        // A tag is one record, however many responses carry it.
        (json!({"tag": "a"}), json!(null)),
    ];
    for (order, removed) in cases {
        let (_, answer) = app.purge(order.clone()).await;
        assert_eq!(answer["removed"], removed, "{order}: {answer}");
    }
}

#[tokio::test]
async fn a_url_that_reaches_nothing_is_named() {
    let app = App::start(cache().0).await;
    app.get().await;
    let host = app.base.trim_start_matches("http://");
    let cases = [
        ("/item".to_owned(), format!("`{host}/item`")),
        ("http://other.test/items".to_owned(), "`other.test/items`".to_owned()),
        (
            "https://other.test:8443/items".to_owned(),
            "`other.test:8443/items`".to_owned(),
        ),
    ];
    for soft in [true, false] {
        for (url, named) in &cases {
            let (status, answer) = app.purge(json!({"url": url, "soft": soft})).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let note = answer["note"].as_str().unwrap_or_default();
            assert!(note.contains(named.as_str()), "{url}: {answer}");
            assert_eq!(
                note.contains("host is that of this request"),
                url.starts_with('/'),
                "{note}"
            );
        }
    }
    assert_eq!(app.get().await.0, "HIT");
    // The control: one that reaches something has no note.
    for soft in [true, false] {
        let (_, answer) = app.purge(json!({"url": "/items", "soft": soft})).await;
        assert_eq!(answer.get("note"), None, "{answer}");
    }
}

#[tokio::test]
async fn a_soft_one_keeps_the_copy_for_its_stale_window() {
    let app = App::start(cache().0).await;
    assert_eq!(app.get().await, ("MISS".to_owned(), "1".to_owned()));
    let (status, answer) = app.purge(json!({"url": "/items", "soft": true})).await;
    assert_eq!((status, &answer["soft"]), (StatusCode::OK, &json!(true)));
    assert_eq!(app.get().await, ("STALE".to_owned(), "1".to_owned()));
    while app.calls.count() < 2 {
        tokio::task::yield_now().await;
    }
    app.purge(json!({"url": "/items"})).await;
    assert_eq!(app.get().await.0, "MISS");
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let app = App::start(cache().0).await;
    app.get().await;
    let wrong = [
        None,
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer a-long-random-tex"),
        Some("Bearer a-long-random-texts"),
        Some("Basic a-long-random-text"),
        Some("a-long-random-text"),
    ];
    for authorization in wrong {
        let (status, answer) = app.post(authorization, json!({"all": true}).to_string()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{authorization:?}: {answer}");
    }
    assert_eq!(app.get().await.0, "HIT");
    let (status, _) = app.post(Some(&format!("bearer {TOKEN}")), r#"{"all":true}"#).await;
    assert_eq!(status, StatusCode::OK, "the scheme's case does not matter");
}

#[test]
fn a_token_that_protects_nothing_is_refused() {
    let layer = crate::support::layer();
    for (token, said) in [("", "empty"), ("two words", "spaces"), ("ä", "ASCII")] {
        let error = PurgeRouter::with_token::<()>(&layer, token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn an_authentication_of_ones_own() {
    let layer = crate::support::layer();
    let closed = layer_fn(|_| {
        tower::service_fn(|_: axum::extract::Request| async {
            Ok::<_, std::convert::Infallible>(StatusCode::FORBIDDEN)
        })
    });
    let app: Router = PurgeRouter::behind(&layer, closed);
    let request = Request::post("/")
        .body(axum::body::Body::from(r#"{"all":true}"#))
        .unwrap();
    let response = tower::ServiceExt::oneshot(app, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_order_that_says_nothing_or_too_much_is_refused_with_the_reason() {
    let app = App::start(cache().0).await;
    app.get().await;
    let cases = [
        ("", StatusCode::BAD_REQUEST, "EOF"),
        ("tag=user", StatusCode::BAD_REQUEST, "expected"),
        ("{}", StatusCode::UNPROCESSABLE_ENTITY, "name one of"),
        (r#"{"soft":true}"#, StatusCode::UNPROCESSABLE_ENTITY, "name one of"),
        (
            r#"{"tag":"a","all":true}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
            "name one of",
        ),
        (r#"{"tags":[]}"#, StatusCode::UNPROCESSABLE_ENTITY, "empty"),
        (r#"{"all":false}"#, StatusCode::UNPROCESSABLE_ENTITY, "`all` is false"),
        (
            r#"{"tga":"a"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
            "unknown field `tga`",
        ),
        (r#"{"tag":7}"#, StatusCode::UNPROCESSABLE_ENTITY, "expected a string"),
        (r#"{"url":"http://"}"#, StatusCode::UNPROCESSABLE_ENTITY, "is not a URL"),
        (r#"{"url":"user:42"}"#, StatusCode::UNPROCESSABLE_ENTITY, "is not a URL"),
        (r#"{"url":"*"}"#, StatusCode::UNPROCESSABLE_ENTITY, "is not a URL"),
        (r#"{"url":"items"}"#, StatusCode::UNPROCESSABLE_ENTITY, "is not a URL"),
        (
            r#"{"url":"ftp://a.test/items"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
            "scheme",
        ),
        (
            r#"{"url":"http://me@a.test/items"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
            "user",
        ),
        (
            r#"{"namespace":"a","soft":true}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
            "tag_namespaces",
        ),
    ];
    let authorization = format!("Bearer {TOKEN}");
    for (body, status, said) in cases {
        let (answered, answer) = app.post(Some(&authorization), body).await;
        assert_eq!(answered, status, "{body}: {answer}");
        let reason = answer["error"].as_str().unwrap();
        assert!(reason.contains(said), "{body}: {reason}");
    }
    assert_eq!(app.get().await.0, "HIT", "nothing was invalidated");
}

#[tokio::test]
async fn an_invalidation_that_failed_says_so() {
    let (broken, read_only) = (
        crate::support::bytes_only(&ManualClock::new()),
        crate::support::bytes_only(&ManualClock::new()),
    );
    broken.fail(ErrorKind::Unavailable);
    read_only.fail(ErrorKind::Rejected);
    for (backend, said) in [(broken, "unavailable"), (read_only, "rejected")] {
        let app = App::start(Cache::builder(backend).build()).await;
        for order in [json!({"url": "/items"}), json!({"tag": "a"}), json!({"all": true})] {
            let (status, answer) = app.purge(order).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY);
            let reason = answer["error"].as_str().unwrap_or_default();
            assert!(reason.contains(said), "{answer}");
        }
    }
}
