//! The tags of responses for caches downstream.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Bodies, Reply, bytes_only, cache, get, get_with, reply, request, send, start};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cache_axum::cache_engine::cache_core::{Error, async_trait};
use cache_axum::cache_engine::{Cache, InvalidationTarget, Purge, Purger};
use cache_axum::{CacheHandle, CacheLayer, StoreFor, SurrogateKeys};
use cache_memory::MemoryBackend;
use http::{HeaderName, Method};

const MINUTE: Duration = Duration::from_secs(60);

/// A page that is made from a value with the tag `author`, and whose handler adds `read` and `late`.
async fn page(cache: Cache, handle: CacheHandle) -> Response {
    let authors = cache.with_namespace("authors").with_tags(["author"]);
    let load = || async { Ok::<_, Infallible>("Ada".to_owned()) };
    let name = authors.get_or_load("7", load).await.unwrap();
    let text = handle.tagged(["read"], async || format!("by {name}")).await;
    (StoreFor::as_usual().tags(["late"]), text).into_response()
}

fn layer(cache: &Cache, keys: SurrogateKeys) -> CacheLayer {
    CacheLayer::new(cache.clone())
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .namespace("pages")
        .tags(["all pages"])
        .tags_by(|request| vec![format!("path:{}", request.uri.path())])
        .late_tags(true)
        .surrogate_keys(keys)
}

fn app(cache: &Cache, keys: SurrogateKeys) -> Router {
    let of_handler = cache.clone();
    Router::new()
        .fallback(move |handle: CacheHandle| page(of_handler.clone(), handle))
        .layer(layer(cache, keys))
}

fn keys(reply: &Reply, keys: &SurrogateKeys, separator: char) -> BTreeSet<String> {
    let value = reply.header(keys.field().as_str());
    value.split(separator).map(str::to_owned).collect()
}

/// The keys of the page at `/a`.
fn of_page(keys: &SurrogateKeys, cache: &Cache) -> BTreeSet<String> {
    let pages = cache.with_namespace("pages");
    let tags = ["all pages", "path:/a", "author", "read", "late"];
    let tags = tags.into_iter().map(|tag| InvalidationTarget::Tag(tag.into()));
    let others = [
        InvalidationTarget::Namespace(pages.namespace().clone()),
        InvalidationTarget::Everything,
    ];
    tags.chain(others).map(|target| keys.key(&target)).collect()
}

#[tokio::test]
async fn misses_hits_stale_responses_and_304s_have_the_keys_of_all_tags() {
    for (keys_, separator) in [
        (SurrogateKeys::surrogate_key(), ' '),
        (SurrogateKeys::cache_tag().prefix("shop "), ','),
        (
            SurrogateKeys::comma_separated(HeaderName::from_static("edge-cache-tag")),
            ',',
        ),
    ] {
        let (cache, clock) = cache();
        let app = app(&cache, keys_.clone());
        let expected = of_page(&keys_, &cache);
        let check = |reply: &Reply, state: &str| {
            assert_eq!(reply.x_cache(), state);
            let mut written = keys(reply, &keys_, separator);
            // And one for its URL.
            written.retain(|key| !key.contains("~key:"));
            assert_eq!(written, expected, "{state}");
        };
        let miss = get(&app, "/a").await;
        check(&miss, "MISS");
        check(&get(&app, "/a").await, "HIT");
        for _prepared in 0..3 {
            check(&get(&app, "/a").await, "HIT");
        }
        check(&send(&app, request(Method::HEAD, "/a", &[])).await, "HIT");
        let not_modified = get_with(&app, "/a", &[("if-none-match", miss.header("etag"))]).await;
        assert_eq!(not_modified.status, 304);
        check(&not_modified, "HIT");
        let part = get_with(&app, "/a", &[("range", "bytes=0-1")]).await;
        assert_eq!(part.status, 206);
        check(&part, "HIT");
        clock.advance(MINUTE + Duration::from_secs(1));
        check(&get(&app, "/a").await, "STALE");
    }
}

#[tokio::test]
async fn the_keys_are_stored_with_the_response() {
    let (_, clock) = cache();
    let store = bytes_only(&clock);
    let keys_ = SurrogateKeys::surrogate_key();
    let build = || Cache::builder(store.clone()).clock(clock.clone()).build();
    let cache = build();
    get(&app(&cache, keys_.clone()), "/a").await;
    // Another process, with another prefix.
    let other = SurrogateKeys::cache_tag().prefix("new/");
    let hit = get(&app(&build(), other.clone()), "/a").await;
    assert_eq!(hit.x_cache(), "HIT");
    let mut written = keys(&hit, &other, ',');
    written.retain(|key| !key.contains("~key:"));
    assert_eq!(written, of_page(&other, &cache));
}

/// A layer without the setting has stored it, so its tags are not known, and any invalidation has to reach it.
#[tokio::test]
async fn a_response_whose_tags_are_not_known_is_purged_by_every_invalidation() {
    let (cache, _) = cache();
    let keys_ = SurrogateKeys::surrogate_key();
    let of_handler = cache.clone();
    let before = Router::new()
        .fallback(move |handle: CacheHandle| page(of_handler.clone(), handle))
        .layer(layer(&cache, keys_.clone()).surrogate_keys(None));
    assert!(!get(&before, "/a").await.headers.contains_key("surrogate-key"));
    let hit = get(&app(&cache, keys_.clone()), "/a").await;
    assert_eq!((hit.x_cache(), hit.header("surrogate-key")), ("HIT", "~any"));
}

#[tokio::test]
async fn what_is_not_stored_or_not_complete_is_purged_by_every_invalidation() {
    let (cache, _) = cache();
    let bodies = Bodies::default();
    let source = bodies.clone();
    let handler = move |request: Request| {
        let body = match request.uri().path() {
            "/slow" => source.take(),
            _ => Body::from("mine"),
        };
        let private = request.uri().path() == "/private";
        async move {
            match private {
                true => ([("cache-control", "private")], body).into_response(),
                false => body.into_response(),
            }
        }
    };
    let app = Router::new()
        .fallback(handler)
        .layer(layer(&cache, SurrogateKeys::surrogate_key()));
    for (path, headers) in [("/private", &[][..]), ("/a", &[("authorization", "x")])] {
        assert_eq!(get_with(&app, path, headers).await.header("surrogate-key"), "~any");
    }
    let pieces = bodies.push();
    pieces.send(Ok("one".into())).unwrap();
    let first = start(&app, request(Method::GET, "/slow", &[])).await;
    assert_eq!(first.headers()["surrogate-key"], "~any");
    drop(pieces);
    reply(first).await;
    cache.settled().await;
    let hit = get(&app, "/slow").await;
    let all = ["path:/slow", "all%20pages", "~all"];
    let written = keys(&hit, &SurrogateKeys::surrogate_key(), ' ');
    assert!(all.iter().all(|key| written.contains(*key)), "{written:?}");
}

#[tokio::test]
async fn what_does_not_fit_is_replaced() {
    let (cache, _) = cache();
    let keys_ = SurrogateKeys::surrogate_key().max_len(60);
    let app = app(&cache, keys_.clone());
    for state in ["MISS", "HIT"] {
        let reply = get(&app, "/a").await;
        assert_eq!(reply.x_cache(), state);
        let value = reply.header("surrogate-key");
        assert!(value.len() <= 60 && value.ends_with(" ~any"), "{value}");
    }
}

#[tokio::test]
async fn only_a_cdn_gets_the_field() {
    let (cache, _) = cache();
    let keys = SurrogateKeys::surrogate_key()
        .only_if(|request| request.headers.get("x-cdn").is_some_and(|secret| secret == "secret"));
    let of_handler = cache.clone();
    let handler = move |handle: CacheHandle| {
        let page = page(of_handler.clone(), handle);
        async move { ([("surrogate-key", "by-hand")], page.await) }
    };
    let app = Router::new().fallback(handler).layer(layer(&cache, keys));
    for path in ["/a", "/b"] {
        for _state in ["MISS", "HIT", "HIT", "HIT"] {
            let reply = get(&app, path).await;
            assert!(!reply.headers.contains_key("surrogate-key"));
            let reply = get_with(&app, path, &[("x-cdn", "secret")]).await;
            let value = reply.header("surrogate-key");
            assert!(value.starts_with("by-hand ") && value.contains(" author "), "{value}");
        }
    }
}

#[tokio::test]
async fn a_namespace_of_the_handler_has_a_key_too() {
    let (cache, _) = cache();
    let handler = || async { (StoreFor::as_usual().namespace("news"), "…") };
    let app = Router::new()
        .fallback(handler)
        .layer(layer(&cache, SurrogateKeys::surrogate_key()));
    for _ in 0..3 {
        get(&app, "/").await;
    }
    let hit = get(&app, "/").await;
    assert_eq!(hit.x_cache(), "HIT");
    let written = keys(&hit, &SurrogateKeys::surrogate_key(), ' ');
    assert!(
        written.contains("~ns:news") && written.contains("~ns:pages"),
        "{written:?}"
    );
}

/// Notes the keys of what it is told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Purger for Told {
    async fn purge(&self, purges: &[Purge]) -> Result<(), Error> {
        let keys = SurrogateKeys::surrogate_key();
        let mut told = self.0.lock().unwrap();
        told.extend(purges.iter().map(|purge| keys.key(&purge.target)));
        Ok(())
    }
}

#[tokio::test]
async fn what_invalidates_a_url_or_one_of_its_variants_names_a_key_of_the_response() {
    let told = Told::default();
    let cache = Cache::builder(MemoryBackend::default()).purger(told.clone()).build();
    let handler = |request: Request| async move {
        let vary = match request.uri().path() {
            "/plain" => "x-nothing",
            _ => "accept-language",
        };
        let etag = if request.method() == Method::HEAD {
            "\"2\""
        } else {
            "\"1\""
        };
        ([("vary", vary), ("etag", etag)], "text")
    };
    let app = Router::new().fallback(handler).layer(
        CacheLayer::new(cache.clone())
            .ttl(MINUTE)
            .surrogate_keys(SurrogateKeys::surrogate_key()),
    );
    for path in ["/plain", "/vary"] {
        for headers in [&[("accept-language", "de")][..], &[("accept-language", "en")]] {
            get_with(&app, path, headers).await;
            for request in [
                request(Method::POST, path, headers),
                request(
                    Method::HEAD,
                    path,
                    &[headers, &[("cache-control", "no-cache")]].concat(),
                ),
            ] {
                let hit = get_with(&app, path, headers).await;
                let what = format!("{} {path}", request.method());
                send(&app, request).await;
                cache.settled().await;
                let told = std::mem::take(&mut *told.0.lock().unwrap());
                let written = keys(&hit, &SurrogateKeys::surrogate_key(), ' ');
                assert!(
                    told.iter().any(|key| written.contains(key)),
                    "{what}: {told:?} in {written:?}"
                );
            }
        }
    }
}
