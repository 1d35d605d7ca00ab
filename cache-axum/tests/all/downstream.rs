//! What a shared cache between the clients and the layer may reuse: no more than what the layer itself would return for
//! each request.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{app, cache, get, get_with, layer};
use axum::Router;
use cache_axum::cache_engine::cache_core::KeyName;
use cache_axum::{CacheLayer, ClientCaching};
use http::HeaderName;
use http::request::Parts;

type Headers = &'static [(&'static str, &'static str)];

fn field(name: &str) -> impl Fn(&Parts) -> Option<String> + Send + Sync + 'static {
    let name = name.to_owned();
    move |request| Some(request.headers.get(&name)?.to_str().ok()?.to_owned())
}

/// An app whose answers say who asked, behind `layer`, behind a shared cache.
fn behind_a_shared_cache(layer: CacheLayer, seen: &'static str) -> Router {
    let (app, _) = app(layer, move |_, request| {
        let seen = request
            .headers
            .get(seen)
            .map_or("nobody", |value| value.to_str().unwrap());
        seen.to_owned()
    });
    app.layer(CacheLayer::shared(cache().0).namespace("downstream"))
}

/// Whether nobody gets what was made for somebody else, in whatever order they ask.
async fn is_safe(layer: impl Fn() -> CacheLayer, seen: &'static str, asked: &[Headers]) -> bool {
    for first in asked {
        for second in asked {
            let app = behind_a_shared_cache(layer(), seen);
            for headers in [first, second, first, second] {
                let expected = headers.iter().find(|(name, _)| *name == seen);
                let expected = expected.map_or("nobody", |(_, value)| value);
                if get_with(&app, "/", headers).await.text() != expected {
                    return false;
                }
            }
        }
    }
    true
}

#[tokio::test]
async fn each_setting_that_tells_requests_apart_holds_downstream() {
    let cookies: &[Headers] = &[&[], &[("cookie", "alice")], &[("cookie", "bob")]];
    let keys: &[Headers] = &[&[], &[("x-api-key", "alice")], &[("x-api-key", "bob")]];
    let names: &[Headers] = &[&[], &[("x-user", "alice")], &[("x-user", "bob")]];
    let languages: &[Headers] = &[&[("accept-language", "de")], &[("accept-language", "en")]];
    let authorization: &[Headers] = &[&[], &[("authorization", "alice")], &[("authorization", "bob")]];
    assert!(is_safe(layer, "cookie", cookies).await, "refused cookies");
    assert!(
        is_safe(layer, "authorization", authorization).await,
        "refused authorization"
    );
    assert!(
        is_safe(|| layer().per_user(field("cookie")), "cookie", cookies).await,
        "per_user by cookie"
    );
    assert!(
        is_safe(|| layer().per_user(field("x-user")), "x-user", names).await,
        "per_user by another field"
    );
    let credentials = || layer().credentials([HeaderName::from_static("x-api-key")]);
    assert!(is_safe(credentials, "x-api-key", keys).await, "credentials");
    let key_headers = || layer().key_headers([HeaderName::from_static("accept-language")]);
    assert!(is_safe(key_headers, "accept-language", languages).await, "key_headers");
    let key_builder =
        || layer().key_builder(|request: &Parts| Ok(KeyName::from(field("x-user")(request).unwrap_or_default())));
    assert!(is_safe(key_builder, "x-user", names).await, "key_builder");
    let kept_by_clients = || {
        let layer = layer().client_caching(ClientCaching::MaxAge(Duration::from_secs(60)));
        layer.per_user(field("cookie"))
    };
    assert!(
        is_safe(kept_by_clients, "cookie", cookies).await,
        "per_user with a lifetime for clients"
    );
}

/// The control: with a field that the layer has not been told of, the shared cache mixes the answers up.
#[tokio::test]
async fn a_field_that_the_layer_knows_nothing_of_does_not_hold() {
    let keys: &[Headers] = &[&[], &[("x-api-key", "alice")]];
    assert!(!is_safe(layer, "x-api-key", keys).await);
}

#[tokio::test]
async fn what_clients_are_told_follows_from_the_key() {
    let told = async |layer: CacheLayer, headers: Headers| {
        let (app, _) = app(layer, |_, _| "…");
        let miss = get_with(&app, "/", headers).await;
        let hit = get_with(&app, "/", headers).await;
        let said = |reply: &crate::support::Reply| {
            (
                reply.header("cache-control").to_owned(),
                reply.header("vary").to_owned(),
            )
        };
        assert_eq!(said(&miss), said(&hit));
        said(&hit)
    };
    let own = ("private, no-cache".to_owned(), "authorization, cookie".to_owned());
    let by_user = || layer().per_user(field("cookie"));
    assert_eq!(told(by_user(), &[("cookie", "alice")]).await, own);
    assert_eq!(told(by_user(), &[]).await, own, "nobody is a user too");
    let kept = by_user().client_caching(ClientCaching::MaxAge(Duration::from_secs(5)));
    assert_eq!(told(kept, &[("cookie", "alice")]).await.0, "private, max-age=5");
    assert_eq!(
        told(layer(), &[]).await,
        ("max-age=60".to_owned(), "authorization, cookie".to_owned())
    );
    let open = layer().allow_cookies(true).allow_authorization(true);
    assert_eq!(
        told(open, &[("cookie", "a")]).await,
        ("max-age=60".to_owned(), String::new())
    );
    // Which fields a condition reads, nobody knows.
    let previews = || layer().bypass_if(|request| request.headers.contains_key("x-preview"));
    assert_eq!(told(previews(), &[]).await.0, "no-cache");
    let chosen = previews().client_caching(ClientCaching::Lifetime);
    assert_eq!(told(chosen, &[]).await.0, "max-age=60");
    let languages = layer().key_headers([HeaderName::from_static("accept-language")]);
    assert_eq!(told(languages, &[]).await.1, "accept-language, authorization, cookie");
    let silent = layer().client_caching(ClientCaching::Silent);
    assert_eq!(told(silent, &[]).await, (String::new(), String::new()));
}

#[tokio::test]
async fn what_the_handler_says_goes_out_as_it_is() {
    let (app, _) = app(layer(), |_, _| {
        ([("cache-control", "max-age=9"), ("vary", "accept")], "…")
    });
    for _ in 0..2 {
        let reply = get(&app, "/").await;
        assert_eq!(
            (reply.header("cache-control"), reply.header("vary")),
            ("max-age=9", "accept")
        );
    }
}

#[tokio::test]
async fn a_private_answer_is_stored_for_its_user() {
    let (app, calls) = app(layer().per_user(field("cookie")), |call, _| {
        ([("cache-control", "private, max-age=60")], call.to_string())
    });
    let alice = [("cookie", "alice")];
    for (headers, text, x_cache) in [
        (&alice[..], "1", "MISS"),
        (&alice, "1", "HIT"),
        (&[("cookie", "bob")], "2", "MISS"),
        (&[], "3", "MISS"),
        (&[], "4", "MISS"),
    ] {
        let reply = get_with(&app, "/", headers).await;
        assert_eq!((reply.text(), reply.x_cache()), (text, x_cache), "{headers:?}");
    }
    assert_eq!(calls.count(), 4);
}
