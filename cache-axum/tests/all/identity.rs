//! Responses that are stored per user, by a configured identity.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{Calls, app, get, get_with, layer, request, send};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::{get as get_route, put};
use cache_axum::cache_engine::cache_core::KeyName;
use cache_axum::{CacheHandle, CacheLayer, InvalidateLayer};
use http::Method;
use http::request::Parts;

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

/// A session that an outer layer has verified.
#[derive(Clone)]
struct Session(String);

fn of_session(request: &Parts) -> Option<String> {
    Some(request.extensions.get::<Session>()?.0.clone())
}

/// A profile that can be written to, and two other routes whose writes concern it.
fn with_sessions(layer: CacheLayer) -> Router {
    let also = InvalidateLayer::new(&layer).url("/profile");
    let by_hand = |cache: CacheHandle| async move {
        cache.invalidate_url("/profile").await.unwrap();
    };
    let itself = |cache: CacheHandle| async move {
        cache.invalidate_target().await.unwrap();
    };
    let verify = |mut request: Request, next: Next| async move {
        if let Some(user) = request.headers_mut().remove("x-session") {
            let session = Session(user.to_str().unwrap().to_owned());
            request.extensions_mut().insert(session);
        }
        next.run(request).await
    };
    Router::new()
        .nest(
            "/profile",
            Router::new().route("/", get_route(|| async { "…" }).put(|| async {}).patch(itself)),
        )
        .route("/name", put(by_hand))
        .layer(layer)
        .route("/picture", put(|| async {}).layer(also))
        .layer(from_fn(verify))
}

#[tokio::test]
async fn a_write_knows_its_writer_by_what_an_outer_layer_found_out() {
    let by_user = |request: &Parts| {
        let user = of_session(request).unwrap_or_default();
        Ok(KeyName::from(format!("{user} {}", request.uri.path())))
    };
    let writes = [
        (Method::PUT, "/profile"),
        (Method::PUT, "/name"),
        (Method::PUT, "/picture"),
        (Method::PATCH, "/profile"),
    ];
    for (index, (method, path)) in writes.into_iter().enumerate() {
        for layer in [layer().per_user(of_session), layer().key_builder(by_user)] {
            // The others are to be enough without it.
            let app = with_sessions(layer.invalidate_on_write(index == 0));
            let (alice, bob) = ([("x-session", "alice")], [("x-session", "bob")]);
            for asked in [&alice, &bob] {
                get_with(&app, "/profile", asked).await;
                assert_eq!(get_with(&app, "/profile", asked).await.x_cache(), "HIT");
            }
            let written = send(&app, request(method.clone(), path, &alice)).await;
            assert!(written.status.is_success());
            let case = format!("{method} {path}");
            assert_eq!(get_with(&app, "/profile", &alice).await.x_cache(), "MISS", "{case}");
            assert_eq!(get_with(&app, "/profile", &bob).await.x_cache(), "HIT", "{case}");
        }
    }
}
