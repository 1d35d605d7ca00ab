//! Which requests have the same key, and which do not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use crate::support::{app, get, get_with, layer, request, send};
use axum::Router;
use axum::routing::get as get_route;
use cache_axum::cache_engine::cache_core::{Error, ErrorKind, KeyBuilder, KeyName};
use cache_axum::{CacheHandle, UrlKey};
use http::request::Parts;
use http::{Method, Request};
use proptest::prelude::*;

fn key(uri: &str, host: Option<&str>) -> String {
    let mut request = Request::get(uri);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    UrlKey::new().build(&parts).unwrap().as_str().to_owned()
}

/// What a handler can tell apart, if parameters of different names have no order.
fn meaning(query: &str) -> BTreeMap<&str, Vec<Option<&str>>> {
    let mut parameters = BTreeMap::<_, Vec<_>>::new();
    for parameter in query.split('&') {
        let (name, value) = parameter
            .split_once('=')
            .map_or((parameter, None), |(name, value)| (name, Some(value)));
        parameters.entry(name).or_default().push(value);
    }
    parameters
}

proptest! {
    #[test]
    fn queries_have_the_same_key_if_they_mean_the_same(one in "[ab=&]{0,8}", other in "[ab=&]{0,8}") {
        let same = meaning(&one) == meaning(&other);
        let of = |query: &str| key(&format!("/?{query}"), None);
        prop_assert_eq!(of(&one) == of(&other), same, "{} {}", of(&one), of(&other));
    }

    #[test]
    fn a_shuffled_query_has_the_same_key(
        mut parameters in prop::collection::vec("[a-f]=[0-9]", 0..6),
        seed: u64,
    ) {
        parameters.dedup_by_key(|parameter| parameter.chars().next());
        parameters.sort();
        parameters.dedup_by_key(|parameter| parameter.chars().next());
        let sorted = key(&format!("/?{}", parameters.join("&")), None);
        let len = parameters.len().max(1);
        parameters.rotate_left(seed as usize % len);
        prop_assert_eq!(key(&format!("/?{}", parameters.join("&")), None), sorted);
    }

    #[test]
    fn host_and_path_are_told_apart(
        one in ("[a/?% ]{1,4}", "/[a/]{0,4}"),
        other in ("[a/?% ]{1,4}", "/[a/]{0,4}"),
    ) {
        let of = |(host, path): &(String, String)| key(path, Some(host));
        let trimmed = |(host, path): &(String, String)| (host.trim().to_owned(), path.clone());
        if of(&one) == of(&other) {
            prop_assert_eq!(trimmed(&one), trimmed(&other));
        }
    }
}

#[test]
fn keys_are_readable() {
    assert_eq!(
        key("/a/b?z=1&y=2&z=0", Some("Example.com:8080")),
        "example.com:8080/a/b?y=2&z=1&z=0"
    );
    assert_eq!(key("http://example.com/", Some("EXAMPLE.com")), "example.com/");
    assert_eq!(key("/?", None), "/?");
    assert_ne!(key("/", None), key("/?", None));
}

#[tokio::test]
async fn two_hosts_at_once_are_no_key() {
    let (app, _) = app(layer(), |_, _| "…");
    let reply = get_with(&app, "/", &[("host", "other")]).await;
    assert_eq!(reply.cache_status(), "cache; fwd=bypass; detail=no-key");
}

#[tokio::test]
async fn the_order_of_parameters_does_not_matter_and_everything_else_does() {
    let (app, calls) = app(layer(), |call, _| call.to_string());
    get(&app, "/items?tag=a&page=1").await;
    assert_eq!(get(&app, "/items?page=1&tag=a").await.x_cache(), "HIT");
    for other in [
        "/items?tag=a",
        "/items?tag=A&page=1",
        "/items/?tag=a&page=1",
        "/Items?tag=a&page=1",
        "/items",
    ] {
        assert_eq!(get(&app, other).await.x_cache(), "MISS", "{other}");
    }
    assert_eq!(calls.count(), 6);
}

#[tokio::test]
async fn a_builder_decides_who_shares() {
    let by_path = |parts: &Parts| match parts.uri.path() {
        "/none" => Err(Error::new(ErrorKind::InvalidKey, "no key")),
        path => Ok(KeyName::from(path)),
    };
    let (app, _) = app(layer().key_builder(by_path), |call, _| call.to_string());
    get(&app, "/a?x=1").await;
    assert_eq!(get(&app, "/a?x=2").await.text(), "1");
    assert_eq!(
        get(&app, "/none").await.cache_status(),
        "cache; fwd=bypass; detail=no-key"
    );
}

#[tokio::test]
async fn a_builder_s_keys_are_found_again_wherever_the_layer_is() {
    let by_path = |parts: &Parts| Ok(KeyName::from(parts.uri.path()));
    for by_handler in [true, false] {
        let layer = || layer().key_builder(by_path).invalidate_on_write(!by_handler);
        let write = move |cache: CacheHandle| async move {
            if by_handler {
                cache.invalidate_target().await.unwrap();
            }
        };
        let page = || Router::new().route("/x", get_route(|| async { "…" }).put(write));
        let outermost = Router::new().nest("/a", page()).layer(layer());
        let between = Router::new().nest("/a", Router::new().nest("/b", page()).layer(layer()));
        let innermost = Router::new().nest("/a", Router::new().nest("/b", page().layer(layer())));
        for (app, url) in [(outermost, "/a/x"), (between, "/a/b/x"), (innermost, "/a/b/x")] {
            get(&app, url).await;
            assert_eq!(get(&app, url).await.x_cache(), "HIT");
            send(&app, request(Method::PUT, url, &[])).await;
            assert_eq!(
                get(&app, url).await.x_cache(),
                "MISS",
                "{url}, by handler: {by_handler}"
            );
        }
    }
}

/// Otherwise a write or a purge of another spelling would miss the entry.
#[tokio::test]
async fn a_builder_gets_one_spelling_of_a_url() {
    let by_path = |parts: &Parts| Ok(KeyName::from(parts.uri.path()));
    let (app, _) = app(layer().key_builder(by_path), |call, _| call.to_string());
    get(&app, "/about").await;
    assert_eq!(get(&app, "/%61bout").await.x_cache(), "HIT");
    send(&app, request(Method::PUT, "/%61bout", &[])).await;
    assert_eq!(get(&app, "/about").await.x_cache(), "MISS");
}

#[tokio::test]
async fn names_that_collide_are_told_apart() {
    let short = |parts: &Parts| Ok(KeyName::with_identity("same", parts.uri.path().as_bytes()));
    let (app, calls) = app(layer().key_builder(short), |_, parts| parts.uri.path().to_owned());
    for path in ["/a", "/b", "/a"] {
        assert_eq!(get(&app, path).await.text(), path);
    }
    assert_eq!(calls.count(), 3, "they take each other's place");
    get(&app, "/a").await;
    assert_eq!(calls.count(), 3);
}
