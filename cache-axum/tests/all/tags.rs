//! Tags, which invalidate many responses at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{bytes_only, cache, get, get_with, idle, layer, request, send};
use axum::Router;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::{get as get_route, post};
use cache_axum::cache_engine::{Cache, tagged};
use cache_axum::{CacheHandle, CacheLayer, InvalidateLayer, StoreFor};
use http::{Method, Request, StatusCode};
use tokio::sync::Semaphore;

/// What `x-cache` says of each of these URLs.
async fn states(app: &Router, urls: &[&str]) -> Vec<String> {
    let mut states = Vec::new();
    for url in urls {
        states.push(get(app, url).await.x_cache().to_owned());
    }
    states
}

/// Asks for each URL until it is stored.
async fn warm(app: &Router, urls: &[&str]) {
    for url in urls {
        get(app, url).await;
        assert_eq!(get(app, url).await.x_cache(), "HIT", "{url}");
    }
}

async fn invalidate(Path(tag): Path<String>, cache: CacheHandle) -> Result<(), String> {
    cache.invalidate_tag(tag).await.map_err(|error| error.to_string())
}

async fn soften(Path(tag): Path<String>, cache: CacheHandle) -> Result<(), String> {
    cache
        .soft()
        .invalidate_tag(tag)
        .await
        .map_err(|error| error.to_string())
}

/// An app whose write routes invalidate the tag that they name.
fn app(routes: Router, layer: CacheLayer) -> Router {
    routes
        .route("/invalidate/{tag}", post(invalidate))
        .route("/soften/{tag}", post(soften))
        .layer(layer)
}

async fn write(app: &Router, url: &str) {
    assert_eq!(
        send(app, request(Method::POST, url, &[])).await.status,
        StatusCode::OK,
        "{url}"
    );
}

async fn items() -> &'static str {
    "…"
}

#[tokio::test]
async fn a_route_and_its_requests_have_tags() {
    let layer = layer()
        .tags(["all"])
        .tags_by(|request| vec![request.uri.path().trim_start_matches("/items/").to_owned()]);
    let app = app(Router::new().route("/items/{id}", get_route(items)), layer);
    let urls = ["/items/1", "/items/2"];
    warm(&app, &urls).await;
    write(&app, "/invalidate/1").await;
    assert_eq!(states(&app, &urls).await, ["MISS", "HIT"]);
    write(&app, "/invalidate/all").await;
    assert_eq!(states(&app, &urls).await, ["MISS", "MISS"]);
    write(&app, "/invalidate/other").await;
    assert_eq!(states(&app, &urls).await, ["HIT", "HIT"]);
}

#[tokio::test]
async fn a_handler_adds_tags_before_it_reads() {
    async fn by_handle(cache: CacheHandle) -> &'static str {
        cache.tagged(["author"], items).await
    }
    async fn by_the_task() -> &'static str {
        tagged(["author"], items).await
    }
    async fn streamed(cache: CacheHandle) -> impl IntoResponse {
        let tagger = cache.tagger().clone();
        let read = async move {
            tagger
                .tagged(["author"], || async { Ok::<_, std::io::Error>("…") })
                .await
        };
        axum::body::Body::from_stream(futures_util::stream::once(read))
    }
    let routes = Router::new()
        .route("/handle", get_route(by_handle))
        .route("/task", get_route(by_the_task))
        .route("/stream", get_route(streamed))
        .route("/none", get_route(items));
    let app = app(routes, layer());
    let urls = ["/handle", "/task", "/stream", "/none"];
    warm(&app, &urls).await;
    write(&app, "/invalidate/author").await;
    assert_eq!(states(&app, &urls).await, ["MISS", "MISS", "MISS", "HIT"]);
}

#[tokio::test]
async fn a_response_names_tags_if_the_layer_takes_them() {
    async fn list() -> impl IntoResponse {
        (StoreFor::as_usual().tags(["item:1", "item:2"]), "…")
    }
    let routes = || {
        Router::new()
            .route("/list", get_route(list))
            .route("/none", get_route(items))
    };
    let late = app(routes(), layer().late_tags(true));
    warm(&late, &["/list", "/none"]).await;
    write(&late, "/invalidate/item:2").await;
    assert_eq!(states(&late, &["/list", "/none"]).await, ["MISS", "HIT"]);
    // The control: where they would be missed, the response is not stored.
    let early = app(routes(), layer());
    let reply = get(&early, "/list").await;
    assert_eq!(reply.cache_status(), "cache; fwd=uri-miss; detail=late-tags");
}

#[tokio::test]
async fn all_variants_have_the_tags() {
    async fn varied(cache: CacheHandle) -> impl IntoResponse {
        cache
            .tagged(["author"], || async { ([("vary", "accept-language")], "…") })
            .await
    }
    async fn listed() -> impl IntoResponse {
        (StoreFor::as_usual().namespace("lists"), "…")
    }
    let routes = Router::new()
        .route("/varied", get_route(varied))
        .route("/listed", get_route(listed));
    let app = app(routes, layer().tags(["all"]));
    let ask = async |language| {
        get_with(&app, "/varied", &[("accept-language", language)])
            .await
            .x_cache()
            .to_owned()
    };
    for tag in ["author", "all"] {
        for language in ["en", "de"] {
            ask(language).await;
            assert_eq!(ask(language).await, "HIT");
        }
        write(&app, &format!("/invalidate/{tag}")).await;
        assert_eq!([ask("en").await, ask("de").await], ["MISS", "MISS"], "{tag}");
    }
    get(&app, "/listed").await;
    warm(&app, &["/listed"]).await;
    write(&app, "/invalidate/all").await;
    assert_eq!(get(&app, "/listed").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_soft_invalidation_keeps_responses_for_their_windows() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let handler = move |request: http::request::Parts| {
        let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let vary = request.uri.path().trim_start_matches('/').to_owned();
        async move { ([("vary", vary)], call.to_string()) }
    };
    let handler = move |request: Request<axum::body::Body>| handler(request.into_parts().0);
    let routes = Router::new()
        .route("/", get_route(handler.clone()))
        .route("/accept", get_route(handler));
    let layer = layer().tags(["t"]).stale_while_revalidate(Duration::from_secs(60));
    let app = app(routes, layer);
    for url in ["/", "/accept"] {
        warm(&app, &[url]).await;
        let old = get(&app, url).await;
        write(&app, "/soften/t").await;
        let stale = get(&app, url).await;
        assert_eq!((stale.x_cache(), stale.text()), ("STALE", old.text()), "{url}");
        assert_eq!(
            stale.header("cache-control"),
            "max-age=0",
            "clients are not told to keep it"
        );
        idle().await;
        let new = get(&app, url).await;
        assert_eq!(new.x_cache(), "HIT", "{url}");
        assert_ne!(new.text(), old.text(), "it was refreshed behind the caller's back");
        // The control: a hard one keeps nothing.
        write(&app, "/invalidate/t").await;
        assert_eq!(get(&app, url).await.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn a_soft_invalidation_keeps_responses_for_errors() {
    let failing = Arc::new(AtomicUsize::new(0));
    let status = Arc::clone(&failing);
    let handler = move || {
        let failing = status.load(Ordering::SeqCst) == 1;
        async move {
            if failing {
                Err(StatusCode::SERVICE_UNAVAILABLE)
            } else {
                Ok("…")
            }
        }
    };
    let layer = layer().tags(["t"]).stale_if_error(Duration::from_secs(60));
    let app = app(Router::new().route("/", get_route(handler)), layer);
    warm(&app, &["/"]).await;
    failing.store(1, Ordering::SeqCst);
    write(&app, "/soften/t").await;
    let reply = get(&app, "/").await;
    assert_eq!((reply.status, reply.x_cache()), (StatusCode::OK, "STALE"));
    write(&app, "/invalidate/t").await;
    assert_eq!(get(&app, "/").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_layer_for_writes_invalidates_tags() {
    let cached = layer().tags(["items"]).stale_while_revalidate(Duration::from_secs(60));
    let hard = InvalidateLayer::new(&cached).tags(["items"]);
    let soft = InvalidateLayer::new(&cached)
        .tags_by(|request| vec![request.uri.query().unwrap_or_default().to_owned()])
        .soft(true);
    let respond = |Path(status): Path<u16>| async move { StatusCode::from_u16(status).unwrap() };
    let app = Router::new()
        .route("/items", get_route(items))
        .layer(cached)
        .route("/hard/{status}", post(respond).layer(hard))
        .route("/soft/{status}", post(respond).layer(soft));
    warm(&app, &["/items"]).await;
    send(&app, request(Method::POST, "/hard/400", &[])).await;
    send(&app, request(Method::POST, "/soft/200?other", &[])).await;
    assert_eq!(get(&app, "/items").await.x_cache(), "HIT");
    send(&app, request(Method::POST, "/soft/200?items", &[])).await;
    assert_eq!(get(&app, "/items").await.x_cache(), "STALE");
    idle().await;
    assert_eq!(get(&app, "/items").await.x_cache(), "HIT");
    send(&app, request(Method::POST, "/hard/200", &[])).await;
    assert_eq!(get(&app, "/items").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_write_invalidates_softly_by_choice_and_names_other_urls_with_their_host() {
    let update = || async {
        [
            ("location", "http://test/items/7"),
            ("content-location", "https://elsewhere/items/8"),
        ]
    };
    let routes = || {
        Router::new()
            .route("/items", get_route(items).post(update))
            .route("/items/{id}", get_route(items))
    };
    let window = Duration::from_secs(60);
    let urls = ["/items", "/items/7", "/items/8"];
    for (soft, state) in [(true, "STALE"), (false, "MISS")] {
        let layer = layer().stale_while_revalidate(window).invalidate_softly(soft);
        let app = routes().layer(layer);
        warm(&app, &urls).await;
        send(&app, request(Method::POST, "/items", &[])).await;
        assert_eq!(states(&app, &urls).await, [state, state, "HIT"]);
    }
}

#[tokio::test]
async fn handlers_invalidate_urls_keys_and_namespaces_softly() {
    async fn soften_all(Path(what): Path<String>, cache: CacheHandle) -> Result<(), String> {
        let done = match &*what {
            "url" => cache.soft().invalidate_url("/a").await,
            "key" => cache.soft().invalidate_key("GET test/a").await,
            _ => cache.soft().clear("").await,
        };
        done.map(drop).map_err(|error| error.to_string())
    }
    let (_, clock) = cache();
    let backend = cache_memory::MemoryBackend::builder().clock(clock.clone()).build();
    let cache = Cache::builder(backend).clock(clock).tag_namespaces(true).build();
    let app = Router::new()
        .route("/a", get_route(items))
        .route("/soften/{what}", post(soften_all))
        .layer(CacheLayer::new(cache).stale_while_revalidate(Duration::from_secs(60)));
    for what in ["url", "key", "namespace"] {
        warm(&app, &["/a"]).await;
        write(&app, &format!("/soften/{what}")).await;
        assert_eq!(get(&app, "/a").await.x_cache(), "STALE", "{what}");
        idle().await;
        assert_eq!(get(&app, "/a").await.x_cache(), "HIT", "{what}");
    }
}

/// The tag is invalidated while the handler reads: its answer is for its own caller alone.
async fn invalidated_during_the_load(layer: CacheLayer, vary: &'static str, late: bool) {
    let value = Arc::new(AtomicUsize::new(1));
    let gate = Arc::new(Semaphore::new(0));
    let (source, inner) = (Arc::clone(&value), Arc::clone(&gate));
    let handler = move || {
        let read = source.load(Ordering::SeqCst);
        let gate = Arc::clone(&inner);
        async move {
            let _permit = gate.acquire().await.unwrap();
            let store_for = StoreFor::as_usual();
            let store_for = if late { store_for.tags(["t"]) } else { store_for };
            (store_for, [("vary", vary)], read.to_string())
        }
    };
    let app = app(Router::new().route("/", get_route(handler)), layer);
    let ask = || {
        let app = app.clone();
        tokio::spawn(async move { get(&app, "/").await })
    };
    let (before, waiting) = (ask(), ask());
    idle().await;
    value.store(2, Ordering::SeqCst);
    write(&app, "/invalidate/t").await;
    let after = ask();
    idle().await;
    gate.add_permits(10);
    assert_eq!(before.await.unwrap().text(), "1");
    assert_eq!(after.await.unwrap().text(), "2");
    assert_eq!(waiting.await.unwrap().text(), "2", "who had joined looks again");
    idle().await;
    assert_eq!(get(&app, "/").await.text(), "2");
}

#[tokio::test]
async fn a_load_that_began_before_is_not_kept() {
    for vary in ["", "accept"] {
        invalidated_during_the_load(layer().tags(["t"]), vary, false).await;
        invalidated_during_the_load(layer().late_tags(true), vary, true).await;
        let (_, clock) = cache();
        let remote = Cache::builder(bytes_only(&clock)).clock(clock).build();
        invalidated_during_the_load(CacheLayer::new(remote).tags(["t"]), vary, false).await;
    }
}
