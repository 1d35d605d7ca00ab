//! A response is fresh no longer than the entries that its handler used, and carries their tags.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Calls, cache, get, get_with, idle, request, send};
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{get as get_route, post};
use bytes::Bytes;
use cache_axum::cache_engine::{Cache, Policy, cached};
use cache_axum::{CacheLayer, StoreFor};
use cache_core::testing::Gate;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_LOCATION, ETAG};
use http::{Method, StatusCode};

const SEC: Duration = Duration::from_secs(1);

#[cached(cache = cache, ttl = "10s", stale_if_error = "10m", key = "user:{id}", tags = ["user:{id}"])]
async fn user(cache: &Cache, id: u32, is_down: bool) -> Result<String, &'static str> {
    if is_down { Err("down") } else { Ok(format!("user {id}")) }
}

#[cached(cache = cache, ttl = "10s", key = "switch", tags = ["switch"], contributes = false)]
async fn switch(cache: &Cache) -> bool {
    true
}

async fn name(cache: &Cache) -> String {
    user(cache, 7, false).await.unwrap()
}

fn minute(cache: &Cache) -> CacheLayer {
    CacheLayer::new(cache.clone()).ttl(60 * SEC)
}

/// An app that answers with what `answer` makes of the cache.
fn app<F, R>(cache: &Cache, layer: CacheLayer, answer: impl Fn(Cache) -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = R> + Send + 'static,
    R: IntoResponse + 'static,
{
    let of_handler = cache.clone();
    Router::new()
        .route("/", get_route(move || answer(of_handler.clone())))
        .layer(layer)
}

#[tokio::test]
async fn the_tags_of_a_function_invalidate_the_response() {
    let (cache, _) = cache();
    let app = app(&cache, minute(&cache), |cache| async move { name(&cache).await });
    for _warm in [false, true] {
        assert_eq!(get(&app, "/").await.x_cache(), "MISS");
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
        cache.invalidate_tag("user:8").await.unwrap();
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
        cache.invalidate_tag("user:7").await.unwrap();
    }
}

/// An invalidation after the handler has called the function, and before its response is stored.
#[tokio::test]
async fn an_invalidation_while_the_response_is_made_reaches_it() {
    for (tag, then) in [("user:7", "MISS"), ("user:8", "HIT")] {
        for warm in [false, true] {
            let (cache, _) = cache();
            if warm {
                name(&cache).await;
            }
            let gate = Gate::closed();
            let of_handler = gate.clone();
            let app = app(&cache, minute(&cache), move |cache| {
                let gate = of_handler.clone();
                async move {
                    let name = name(&cache).await;
                    gate.pass().await;
                    name
                }
            });
            let asking = tokio::spawn({
                let app = app.clone();
                async move { get(&app, "/").await }
            });
            gate.reached().await;
            cache.invalidate_tag(tag).await.unwrap();
            name(&cache).await;
            gate.open();
            assert_eq!(asking.await.unwrap().text(), "user 7");
            assert_eq!(get(&app, "/").await.x_cache(), then, "{tag}, {warm}");
        }
    }
}

#[tokio::test]
async fn a_response_is_fresh_no_longer_than_the_function() {
    let (cache, clock) = cache();
    let app = app(&cache, minute(&cache), |cache| async move { name(&cache).await });
    name(&cache).await;
    clock.advance(4 * SEC);
    let first = get(&app, "/").await;
    assert_eq!(first.header("cache-control"), "max-age=6", "clients are told so");
    clock.advance(5 * SEC);
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    clock.advance(SEC);
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn what_is_only_looked_up_does_not_matter() {
    let (cache, clock) = cache();
    let app = app(&cache, minute(&cache), |cache| async move {
        assert!(switch(&cache).await);
        "on"
    });
    for _warm in [false, true] {
        assert_eq!(get(&app, "/").await.header("cache-control"), "max-age=60");
        cache.invalidate_tag("switch").await.unwrap();
        clock.advance(11 * SEC);
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
        clock.advance(60 * SEC);
        switch(&cache).await;
    }
}

/// The function's source is down. The response is for those who have waited for it, and is not fresh after that.
#[tokio::test]
async fn a_stale_value_makes_no_fresh_response() {
    let (cache, clock) = cache();
    let calls = Calls::default();
    let gate = Gate::closed();
    let (counter, of_handler) = (calls.clone(), gate.clone());
    let app = app(&cache, minute(&cache), move |cache| {
        let (counter, gate) = (counter.clone(), of_handler.clone());
        async move {
            counter.add();
            gate.pass().await;
            user(&cache, 7, true).await.unwrap()
        }
    });
    name(&cache).await;
    clock.advance(20 * SEC);
    let ask = || {
        let app = app.clone();
        tokio::spawn(async move { get(&app, "/").await })
    };
    let asking = [ask(), ask(), ask()];
    gate.reached().await;
    idle().await;
    gate.open();
    for asking in asking {
        let reply = asking.await.unwrap();
        assert_eq!(reply.text(), "user 7");
        assert_eq!(reply.header("cache-control"), "max-age=0");
    }
    assert_eq!(calls.count(), 1, "who asks together is answered by one call");
    clock.advance(SEC);
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

/// With a window, the stale response is served while a new one is loaded.
#[tokio::test]
async fn a_stale_response_has_its_windows() {
    let (cache, clock) = cache();
    let down = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let of_handler = Arc::clone(&down);
    let layer = minute(&cache).stale_while_revalidate(60 * SEC);
    let app = app(&cache, layer, move |cache| {
        let is_down = of_handler.load(std::sync::atomic::Ordering::SeqCst);
        async move { user(&cache, 7, is_down).await.unwrap() }
    });
    name(&cache).await;
    clock.advance(20 * SEC);
    get(&app, "/").await;
    clock.advance(SEC);
    down.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(get(&app, "/").await.x_cache(), "STALE");
    idle().await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
}

/// What the handler says itself holds for clients, and not for the store.
#[tokio::test]
async fn a_lifetime_of_the_handlers_own_is_bounded_too() {
    let (cache, clock) = cache();
    let app = app(&cache, minute(&cache), |cache| async move {
        let name = name(&cache).await;
        (StoreFor::new(600 * SEC), [(CACHE_CONTROL, "max-age=600")], name)
    });
    assert_eq!(get(&app, "/").await.header("cache-control"), "max-age=600");
    clock.advance(9 * SEC);
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    clock.advance(SEC);
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

/// What the body uses after the head was sent counts as well.
#[tokio::test]
async fn a_body_that_streams_contributes() {
    let (cache, clock) = cache();
    let gate = Gate::closed();
    let of_handler = gate.clone();
    let app = app(&cache, minute(&cache), move |cache| {
        let gate = of_handler.clone();
        async move {
            Body::from_stream(stream::once(async move {
                gate.pass().await;
                Ok::<_, Infallible>(Bytes::from(name(&cache).await))
            }))
        }
    });
    for invalidated in [true, false] {
        let asking = tokio::spawn({
            let app = app.clone();
            async move { get(&app, "/").await }
        });
        gate.reached().await;
        gate.open();
        assert_eq!(asking.await.unwrap().x_cache(), "MISS");
        idle().await;
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
        if invalidated {
            cache.invalidate_tag("user:7").await.unwrap();
        } else {
            clock.advance(10 * SEC);
            assert_eq!(get(&app, "/").await.x_cache(), "MISS");
        }
    }
}

#[tokio::test]
async fn every_variant_has_the_tags() {
    let (cache, _) = cache();
    let app = app(&cache, minute(&cache), |cache| async move {
        ([("vary", "accept-language")], name(&cache).await)
    });
    for language in ["de", "fr"] {
        get_with(&app, "/", &[("accept-language", language)]).await;
    }
    for language in ["de", "fr"] {
        let reply = get_with(&app, "/", &[("accept-language", language)]).await;
        assert_eq!(reply.x_cache(), "HIT", "{language}");
    }
    cache.invalidate_tag("user:7").await.unwrap();
    for language in ["de", "fr"] {
        let reply = get_with(&app, "/", &[("accept-language", language)]).await;
        assert_eq!(reply.x_cache(), "MISS", "{language}");
    }
}

/// A confirmed response has the lifetime of what the handler used to confirm it.
#[tokio::test]
async fn a_confirmation_contributes() {
    let (cache, clock) = cache();
    let handler = cache.clone();
    let answer = move |request: http::Request<Body>| {
        let cache = handler.clone();
        async move {
            let name = name(&cache).await;
            if request.headers().contains_key("if-none-match") {
                return (StatusCode::NOT_MODIFIED, [(ETAG, "\"a\"")]).into_response();
            }
            ([(ETAG, "\"a\"")], name).into_response()
        }
    };
    let layer = minute(&cache).stale_if_error(600 * SEC);
    let app = Router::new().route("/", get_route(answer)).layer(layer);
    get(&app, "/").await;
    clock.advance(10 * SEC);
    let confirmed = get(&app, "/").await;
    assert!(
        confirmed.cache_status().contains("fwd=stale; fwd-status=304"),
        "{confirmed:?}"
    );
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    clock.advance(10 * SEC);
    let confirmed = get(&app, "/").await;
    assert!(
        confirmed.cache_status().contains("fwd=stale; fwd-status=304"),
        "{confirmed:?}"
    );
    cache.invalidate_tag("user:7").await.unwrap();
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

/// The response to a POST that answers a later GET.
#[tokio::test]
async fn a_response_for_later_requests_has_the_tags() {
    let (cache, clock) = cache();
    for invalidated in [true, false] {
        let of_handler = cache.clone();
        let answer = move || {
            let cache = of_handler.clone();
            async move {
                let head = [(CONTENT_LOCATION, "http://test/"), (CACHE_CONTROL, "max-age=60")];
                (head, name(&cache).await)
            }
        };
        let routes = Router::new().route("/", post(answer).get(|| async { "another" }));
        let app = routes.layer(minute(&cache));
        send(&app, request(Method::POST, "/", &[])).await;
        let reply = get(&app, "/").await;
        assert_eq!((reply.x_cache(), reply.text()), ("HIT", "user 7"));
        if invalidated {
            cache.invalidate_tag("user:7").await.unwrap();
        } else {
            clock.advance(10 * SEC);
        }
        assert_eq!(get(&app, "/").await.text(), "another");
        cache.clear_all().await.unwrap();
    }
}

/// Layers within layers: the tags of the inner one's response, whether it loads, waits or hits.
#[tokio::test]
async fn a_layer_contributes_to_the_layer_around_it() {
    let (cache, clock) = cache();
    for warm in [false, true] {
        let of_handler = cache.clone();
        let inner = CacheLayer::new(cache.clone().with_namespace("inner"))
            .ttl(20 * SEC)
            .tags(["inner"]);
        let answer = move || {
            let cache = of_handler.clone();
            async move { name(&cache).await }
        };
        let routes = Router::new().route("/", get_route(answer)).layer(inner);
        let app = routes
            .clone()
            .layer(CacheLayer::new(cache.clone().with_namespace("outer")).ttl(60 * SEC));
        for tag in ["inner", "user:7"] {
            if warm {
                get(&routes, "/").await;
            }
            get(&app, "/").await;
            cache.invalidate_tag("another").await.unwrap();
            assert_eq!(get(&app, "/").await.x_cache(), "HIT", "{tag}, {warm}");
            cache.invalidate_tag(tag).await.unwrap();
            assert_eq!(get(&app, "/").await.x_cache(), "MISS", "{tag}, {warm}");
            cache.clear_all().await.unwrap();
        }
        get(&app, "/").await;
        clock.advance(10 * SEC);
        assert_eq!(get(&app, "/").await.x_cache(), "MISS");
        cache.clear_all().await.unwrap();
    }
}

#[tokio::test]
async fn a_response_of_another_caches_tags_is_not_stored() {
    let ((cache, _), (another, _)) = (cache(), cache());
    let app = app(&another, minute(&cache), |cache| async move { name(&cache).await });
    let reply = get(&app, "/").await;
    assert!(reply.cache_status().contains("detail=uncarried-tags"), "{reply:?}");
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_policy_leaves_all_parts_out() {
    let (cache, clock) = cache();
    let looked_up = cache.policy_with(|policy: Policy| policy.with_contributes(false));
    let app = app(&looked_up, minute(&cache), |cache| async move { name(&cache).await });
    assert_eq!(get(&app, "/").await.header("cache-control"), "max-age=60");
    clock.advance(11 * SEC);
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
}
