//! Looking into the cache from outside, over the router.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Reply, bytes_only, cache, get, get_with, request, send};
use axum::Router;
use axum::response::{IntoResponse, Response};
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::{ErrorKind, ManualClock};
use cache_axum::{CacheLayer, InspectRouter, Query};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tower_layer::layer_fn;

const TOKEN: &str = "a-long-random-text";
const MINUTE: Duration = Duration::from_secs(60);

fn answer(uri: &http::Uri) -> Response {
    match uri.path() {
        "/vary" => ([("vary", "accept-language")], "variant").into_response(),
        "/private" => ([("cache-control", "private")], "mine").into_response(),
        _ => ([("etag", "\"1\""), ("cache-control", "max-age=30")], "item").into_response(),
    }
}

fn app(cache: Cache) -> Router {
    let layer = CacheLayer::new(cache)
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .tags(["<b>items</b>"]);
    let router: Router = InspectRouter::with_token(&layer, TOKEN).unwrap();
    let pages = Router::new()
        .fallback(|uri: http::Uri| async move { answer(&uri) })
        .layer(layer);
    Router::new().nest("/inspect", router).fallback_service(pages)
}

async fn look(app: &Router, query: &str) -> (StatusCode, Value) {
    let bearer = format!("Bearer {TOKEN}");
    let reply: Reply = get_with(app, &format!("/inspect?{query}"), &[("authorization", &bearer)]).await;
    assert_eq!(reply.header("content-type"), "application/json");
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

#[tokio::test]
async fn what_is_stored_for_a_url() {
    let (cache, clock) = cache();
    let app = app(cache.clone());
    let (status, nothing) = look(&app, "url=/items").await;
    assert_eq!((status, &nothing["found"][0]["store"]), (StatusCode::OK, &Value::Null));
    get(&app, "/items").await;
    clock.advance(Duration::from_secs(5));
    let before = cache.stats().total().requests();
    let (_, seen) = look(&app, "url=/items").await;
    let seen = &seen["found"][0];
    assert_eq!(seen["response"]["status"], json!(200));
    assert_eq!(seen["response"]["body_bytes"], json!(4));
    assert_eq!(
        (&seen["response"]["etag"], &seen["response"]["cache_control"]),
        (&json!("\"1\""), &json!("max-age=30"))
    );
    let store = &seen["store"];
    assert_eq!(
        (&store["content"], &store["state"], &store["age"]),
        (&json!("value"), &json!("fresh"), &json!(5.0))
    );
    assert_eq!(
        (&store["fresh_for"], &store["tags"]),
        (&json!(30.0), &json!(["<b>items</b>"]))
    );
    assert!(store["bytes"].as_u64().unwrap() > 4);
    clock.advance(MINUTE);
    let (_, seen) = look(&app, "url=http://test/items").await;
    assert_eq!(seen["found"][0]["store"]["state"], json!("stale-while-revalidate"));
    cache.invalidate_tag("<b>items</b>").await.unwrap();
    let (_, seen) = look(&app, "url=/items").await;
    assert_eq!(seen["found"][0]["store"]["state"], json!("invalidated"));
    assert_eq!(cache.stats().total().requests(), before, "looking counts as no request");
}

#[tokio::test]
async fn variants_refusals_and_keys() {
    let (cache, _) = cache();
    let app = app(cache.clone());
    for language in ["de", "en"] {
        get_with(&app, "/vary", &[("accept-language", language)]).await;
    }
    let (_, seen) = look(&app, "url=/vary").await;
    let seen = &seen["found"][0];
    assert_eq!(
        (&seen["varies_by"], &seen["response"]),
        (&json!(["accept-language"]), &Value::Null)
    );
    let variants = seen["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 2);
    assert!(
        variants
            .iter()
            .all(|variant| variant["response"]["status"] == json!(200))
    );

    get(&app, "/private").await;
    let (_, seen) = look(&app, "url=/private").await;
    let seen = &seen["found"][0];
    assert_eq!(
        (&seen["store"], &seen["refused"][0]["reason"]),
        (&Value::Null, &json!("private"))
    );

    cache.with_namespace("users").set("4 2", 1_u32).await.unwrap();
    let (_, seen) = look(&app, "key=4%202&namespace=users").await;
    assert_eq!(seen["found"][0]["store"]["state"], json!("fresh"));
    let (_, seen) = look(&app, "key=4%202").await;
    assert_eq!(seen["found"][0]["store"], Value::Null);
    // Each counted namespace costs memory, and there is room for so many only.
    look(&app, "key=4%202&namespace=nobody").await;
    let counted = cache.stats().namespaces;
    assert!(counted.iter().any(|counted| counted.namespace == "users"));
    assert!(
        counted.iter().all(|counted| counted.namespace != "nobody"),
        "{counted:?}"
    );
}

/// A look-up that finds nothing says where else to look.
#[tokio::test]
async fn a_url_of_which_nothing_is_known_has_a_note() {
    let (cache, _) = cache();
    let plain = CacheLayer::new(cache.clone()).ttl(MINUTE);
    let of_users = plain.clone().per_user(|_| Some("ada".to_owned()));
    for (layer, hint) in [(plain, false), (of_users, true)] {
        let router: Router = InspectRouter::with_token(&layer, TOKEN).unwrap();
        let pages = Router::new()
            .fallback(|uri: http::Uri| async move { answer(&uri) })
            .layer(layer.query(Query::sorted().only(["page"])));
        let app = Router::new().nest("/inspect", router).fallback_service(pages);
        get(&app, "/items?utm_source=1").await;
        let (_, seen) = look(&app, "url=/items?utm_source=1").await;
        let note = seen["note"].as_str().unwrap();
        assert!(
            note.contains("`test/items`") && note.contains("host is that of this request"),
            "{note}"
        );
        assert!(note.contains("another namespace, key builder or query"), "{note}");
        assert_eq!(note.contains("kept per user"), hint, "{note}");
        let (_, seen) = look(&app, "url=http://elsewhere/items").await;
        let note = seen["note"].as_str().unwrap();
        assert!(
            note.contains("`elsewhere/items`") && !note.contains("of this request"),
            "{note}"
        );
        // The controls: what is found, what was refused, and a key.
        get(&app, "/private").await;
        for query in ["url=/items", "url=/private", "key=1"] {
            let (_, seen) = look(&app, query).await;
            assert_eq!(seen.get("note"), None, "{query}: {seen}");
        }
        cache.clear_all().await.unwrap();
    }
}

#[tokio::test]
async fn only_with_the_token_and_a_target() {
    let (cache, _) = cache();
    let app = app(cache.clone());
    for headers in [&[][..], &[("authorization", "Bearer another")][..]] {
        let reply = get_with(&app, "/inspect?url=/items", headers).await;
        assert_eq!(
            (reply.status, reply.header("www-authenticate")),
            (StatusCode::UNAUTHORIZED, "Bearer")
        );
    }
    for query in [
        "",
        "url=user:42",
        "url=/a&key=b",
        "namespace=users",
        "url=/a&url=/b",
        "other=1",
    ] {
        assert_eq!(look(&app, query).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    let layer = CacheLayer::new(cache);
    let unguarded = InspectRouter::with_token::<()>(&layer, "").unwrap_err();
    assert!(unguarded.to_string().starts_with("inspect: "), "{unguarded}");
    let open: Router = InspectRouter::behind(&layer, layer_fn(|inner: axum::routing::Route| inner));
    assert_eq!(
        send(&open, request(Method::GET, "/?url=/", &[])).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_store_that_is_down() {
    let clock = ManualClock::new();
    let store = bytes_only(&clock);
    let app = app(Cache::builder(store.clone()).clock(clock).build());
    get(&app, "/items").await;
    store.fail(ErrorKind::Unavailable);
    assert_eq!(look(&app, "url=/items").await.0, StatusCode::BAD_GATEWAY);
}
