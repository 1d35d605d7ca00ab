//! Groups of responses (RFC 9875).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{cache, get, get_with, layer, request, send};
use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{get as get_route, post};
use cache_axum::{CacheLayer, InvalidateLayer};
use http::{Method, StatusCode};

async fn grouped() -> impl IntoResponse {
    (
        [
            ("cache-control", "max-age=60"),
            ("cache-groups", r#""scripts", "menu";v=2"#),
        ],
        "…",
    )
}

async fn ungrouped() -> impl IntoResponse {
    ([("cache-control", "max-age=60")], "…")
}

async fn invalidating() -> impl IntoResponse {
    [("cache-group-invalidation", r#""menu""#)]
}

async fn failing() -> impl IntoResponse {
    (StatusCode::INTERNAL_SERVER_ERROR, invalidating().await)
}

fn app(layer: CacheLayer) -> Router {
    Router::new()
        .route("/grouped", get_route(grouped))
        .route("/ungrouped", get_route(ungrouped))
        .route("/write", post(invalidating).get(invalidating))
        .route("/fail", post(failing))
        .layer(layer)
}

async fn warm(app: &Router) {
    for url in ["/grouped", "/ungrouped"] {
        get(app, url).await;
        assert_eq!(get(app, url).await.x_cache(), "HIT");
    }
}

async fn states(app: &Router) -> [String; 2] {
    let state = async |url| get(app, url).await.x_cache().to_owned();
    [state("/grouped").await, state("/ungrouped").await]
}

#[tokio::test]
async fn a_write_invalidates_the_groups_that_it_names() {
    let layers = [CacheLayer::shared(cache().0), layer().cache_groups(true)];
    for layer in layers {
        let app = app(layer);
        warm(&app).await;
        send(&app, request(Method::POST, "/write", &[])).await;
        assert_eq!(states(&app).await, ["MISS", "HIT"]);
        // Whatever the status says: the origin wants it so.
        send(&app, request(Method::POST, "/fail", &[])).await;
        assert_eq!(states(&app).await, ["MISS", "HIT"]);
    }
}

#[tokio::test]
async fn what_is_safe_invalidates_nothing() {
    let app = app(CacheLayer::shared(cache().0));
    warm(&app).await;
    get(&app, "/write").await;
    assert_eq!(states(&app).await, ["HIT", "HIT"]);
}

#[tokio::test]
async fn groups_mean_nothing_unless_the_layer_is_told() {
    for layer in [layer(), CacheLayer::shared(cache().0).cache_groups(false)] {
        let app = app(layer);
        warm(&app).await;
        send(&app, request(Method::POST, "/write", &[])).await;
        assert_eq!(states(&app).await, ["HIT", "HIT"]);
    }
}

#[tokio::test]
async fn a_group_belongs_to_its_origin() {
    let app = app(CacheLayer::shared(cache().0));
    let ask = async |host: &str| {
        let mut request = request(Method::GET, "/grouped", &[]);
        request.headers_mut().insert("host", host.parse().unwrap());
        send(&app, request).await.x_cache().to_owned()
    };
    for host in ["a.test", "b.test"] {
        ask(host).await;
        assert_eq!(ask(host).await, "HIT");
    }
    let mut write = request(Method::POST, "/write", &[]);
    write.headers_mut().insert("host", "A.test".parse().unwrap());
    send(&app, write).await;
    assert_eq!([ask("a.test").await, ask("b.test").await], ["MISS", "HIT"]);
}

#[tokio::test]
async fn a_write_outside_of_the_layer_invalidates_groups_too() {
    let cached = CacheLayer::shared(cache().0);
    let writes = InvalidateLayer::new(&cached);
    let app = Router::new()
        .route("/grouped", get_route(grouped))
        .route("/ungrouped", get_route(ungrouped))
        .layer(cached)
        .route("/write", post(invalidating).layer(writes));
    warm(&app).await;
    send(&app, request(Method::POST, "/write", &[])).await;
    assert_eq!(states(&app).await, ["MISS", "HIT"]);
}

#[tokio::test]
async fn variants_are_in_their_groups() {
    async fn varied() -> impl IntoResponse {
        let headers = [
            ("cache-control", "max-age=60"),
            ("cache-groups", r#""menu""#),
            ("vary", "accept-language"),
        ];
        (headers, "…")
    }
    let app = Router::new()
        .route("/", get_route(varied))
        .route("/write", post(invalidating))
        .layer(CacheLayer::shared(cache().0));
    let ask = async |language| {
        get_with(&app, "/", &[("accept-language", language)])
            .await
            .x_cache()
            .to_owned()
    };
    for language in ["en", "de"] {
        ask(language).await;
        assert_eq!(ask(language).await, "HIT");
    }
    send(&app, request(Method::POST, "/write", &[])).await;
    assert_eq!([ask("en").await, ask("de").await], ["MISS", "MISS"]);
}
