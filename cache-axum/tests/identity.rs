//! Answers that are kept apart per user, by a declared identity.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use axum::Router;
use cache_axum::CacheLayer;
use http::Method;
use support::{Calls, app, get, get_with, layer, request, send};

/// Stands for a session that was verified: only these two are known.
fn known(layer: CacheLayer) -> CacheLayer {
    layer.per_user(|parts| match parts.headers.get("authorization")?.to_str().ok()? {
        "token-a" => Some("alice".into()),
        "token-b" => Some("bob".into()),
        _ => None,
    })
}

fn echo(layer: CacheLayer) -> (Router, Calls) {
    app(layer, |call, parts| {
        let who = parts
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        format!("{call} {}", who.unwrap_or_default())
    })
}

#[tokio::test]
async fn each_user_has_own_answers() {
    let (app, _) = echo(known(layer()));
    for x_cache in ["MISS", "HIT"] {
        let alice = get_with(&app, "/", &[("authorization", "token-a"), ("cookie", "theme=dark")]).await;
        let bob = get_with(&app, "/", &[("authorization", "token-b")]).await;
        let nobody = get(&app, "/").await;
        assert_eq!((alice.text(), alice.x_cache()), ("1 token-a", x_cache));
        assert_eq!((bob.text(), bob.x_cache()), ("2 token-b", x_cache));
        assert_eq!((nobody.text(), nobody.x_cache()), ("3 ", x_cache));
    }
}

#[tokio::test]
async fn who_is_not_known_passes_by() {
    let (app, calls) = echo(known(layer()));
    for _ in 0..2 {
        let reply = get_with(&app, "/", &[("authorization", "forged")]).await;
        assert_eq!(reply.cache_status(), "cache; fwd=bypass; detail=authorization");
    }
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn cookies_are_still_not_stored() {
    let (app, calls) = app(known(layer()), |_, _| ([("set-cookie", "session=1")], "…"));
    for _ in 0..2 {
        get_with(&app, "/", &[("authorization", "token-a")]).await;
    }
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn a_write_invalidates_the_writers_own_answer_and_that_of_nobody() {
    let (app, _) = echo(known(layer()));
    let alice = [("authorization", "token-a")];
    let bob = [("authorization", "token-b")];
    for asked in [&alice[..], &bob[..], &[]] {
        get_with(&app, "/", asked).await;
    }
    send(&app, request(Method::PUT, "/", &alice)).await;
    assert_eq!(get_with(&app, "/", &alice).await.x_cache(), "MISS");
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
    assert_eq!(get_with(&app, "/", &bob).await.x_cache(), "HIT");
}

#[tokio::test]
async fn names_are_told_apart_whatever_they_contain() {
    let by_name = |parts: &http::request::Parts| Some(parts.headers.get("x-name")?.to_str().ok()?.to_owned());
    let (app, calls) = app(layer().per_user(by_name), |call, _| call.to_string());
    let names = ["a", "A", "a b", "a%20b", "a=b", "", "user"];
    for name in names {
        assert_eq!(
            get_with(&app, "/", &[("x-name", name)]).await.x_cache(),
            "MISS",
            "{name:?}"
        );
    }
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
    assert_eq!(calls.count(), names.len() + 1);
}
