//! One HTTP server for the measurements of hits: `http SUBJECT PORT [REDIS_URL]`.
//!
//! Each subject serves the same three responses, `/1k`, `/4k` and `/64k`. `bare` is the route without a cache, `floor` the
//! same route with the header fields of a hit, `floor-redis` one that also reads the body from Redis, and the others cache
//! the route. `/check` tells how often its handler ran, by which those that do not cache are found out.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_engine::Cache;
use cache_memory::MemoryBackend;
use cache_redis::RedisBackend;
use fred::prelude::KeysInterface;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Request, StatusCode};
use http_body_util::Full;
use peers::clients::fred;
use peers::server::{PATHS, content, routes, serve};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

const HOUR: Duration = Duration::from_secs(3_600);
fn larder(cache: Cache) -> Router {
    routes(|route| route).layer(CacheLayer::new(cache).ttl(HOUR))
}

/// Returns the header fields of a hit.
async fn fields(path: &str) -> HeaderMap {
    let layered = larder(Cache::builder(MemoryBackend::default()).build());
    let mut fields = HeaderMap::new();
    for _ in 0..2 {
        let request = Request::get(path).header("host", "127.0.0.1").body(Body::empty());
        let response = layered.clone().oneshot(request.unwrap()).await.unwrap();
        fields = response.headers().clone();
    }
    assert!(fields.contains_key("age"), "{path} is not a hit: {fields:?}");
    fields
}

fn hit(fields: HeaderMap, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.headers_mut() = fields;
    response
}

/// The static route with the header fields of a hit: what a hit would take if the cache took nothing.
async fn floor() -> Router {
    let mut router = Router::new();
    for path in PATHS {
        let (fields, (_, body)) = (fields(path).await, content(path));
        router = router.route(path, get(async move || hit(fields, body)));
    }
    router
}

/// A route that reads the body of a hit from Redis, by fred alone, and knows its header fields: what a hit in Redis would
/// take if the cache took nothing.
async fn floor_redis(redis: &str) -> Router {
    let pool = fred(redis).await;
    let mut router = Router::new();
    for path in PATHS {
        let (fields, (_, body)) = (fields(path).await, content(path));
        let key = format!("floor:{path}");
        let () = pool.set(&key, body, None, None, false).await.unwrap();
        let pool = pool.clone();
        let answer = async move || {
            let body: Bytes = pool.get(&key).await.unwrap();
            hit(fields, body)
        };
        router = router.route(path, get(answer));
    }
    router
}

fn axum_response_cache() -> Router {
    routes(|route| route.layer(axum_response_cache::CacheLayer::with_lifespan(HOUR)))
}

/// It needs bodies that are `Sync`, which axum's are not, so it stands around services instead of handlers.
fn tower_http_cache() -> Router {
    use tower_http_cache::prelude::{CacheLayer, InMemoryBackend};
    let failed = |error: BoxError| async move { (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()) };
    let layer = CacheLayer::builder(InMemoryBackend::new(10_000)).ttl(HOUR).build();
    let calls = Arc::new(AtomicU64::new(0));
    let mut router = Router::new();
    for path in PATHS.into_iter().chain(["/check"]) {
        let calls = calls.clone();
        let answer = move |_: Request<Body>| {
            let (content_type, mut body) = content(path);
            if path == "/check" {
                body = Bytes::from(calls.fetch_add(1, Ordering::Relaxed).to_string());
            }
            let response = Response::builder()
                .header(CONTENT_TYPE, content_type)
                .body(Full::new(body));
            async move { Ok::<_, Infallible>(response.unwrap()) }
        };
        let service = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(failed))
            .layer(layer.clone())
            .service(service_fn(answer));
        router = router.route_service(path, service);
    }
    router
}

async fn router(subject: &str, redis: Option<&str>) -> Router {
    let url = || redis.expect("name the URL of Redis");
    let redis = async || RedisBackend::connect(url()).await.unwrap();
    match subject {
        "bare" => routes(|route| route),
        "floor" => floor().await,
        "floor-redis" => floor_redis(url()).await,
        "larder" => larder(Cache::builder(MemoryBackend::default()).build()),
        "larder-redis" => larder(Cache::builder(redis().await).prefix("bench").build()),
        "larder-redis-near" => larder(
            Cache::builder(redis().await)
                .prefix("bench-near")
                .near(MemoryBackend::default())
                .build(),
        ),
        "axum-response-cache" => axum_response_cache(),
        "tower-http-cache" => tower_http_cache(),
        _ => panic!("{subject:?} is no subject"),
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [subject, port, rest @ ..] = &arguments[..] else {
        panic!("http SUBJECT PORT [REDIS_URL]");
    };
    let router = router(subject, rest.first().map(String::as_str)).await;
    serve(router, port).await;
}
