//! Request fields that are configured as credentials are treated like `Authorization`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{app, cache, get, get_with, layer};
use cache_axum::CacheLayer;
use http::HeaderName;

const KEY: HeaderName = HeaderName::from_static("x-api-key");
const ASKED: [(&str, &str); 1] = [("x-api-key", "secret")];

#[tokio::test]
async fn requests_with_one_bypass_the_cache() {
    let (app, calls) = app(layer().credentials([KEY]), |call, _| call.to_string());
    for text in ["1", "2"] {
        let reply = get_with(&app, "/", &ASKED).await;
        assert_eq!((reply.text(), reply.x_cache()), (text, "BYPASS"));
        assert_eq!(reply.cache_status(), "cache; fwd=bypass; detail=authorization");
    }
    assert_eq!(get(&app, "/").await.text(), "3");
    assert_eq!(
        get_with(&app, "/", &ASKED).await.text(),
        "4",
        "what is stored for others is not for them"
    );
    assert_eq!(calls.count(), 4);
}

/// The control: without the declaration, the field makes no difference.
#[tokio::test]
async fn fields_that_are_not_declared_are_like_any_other() {
    let (app, calls) = app(layer(), |call, _| call.to_string());
    get_with(&app, "/", &ASKED).await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn what_lifts_the_refusal_of_authorization_lifts_theirs() {
    let (app, _) = app(layer().credentials([KEY]).allow_authorization(true), |call, _| {
        call.to_string()
    });
    get_with(&app, "/", &ASKED).await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn identified_users_have_their_own() {
    let layer = layer().credentials([KEY]).per_user(|request| {
        let key = request.headers.get(KEY)?.to_str().ok()?;
        (key == "secret").then(|| "alice".to_owned())
    });
    let (app, _) = app(layer, |call, _| call.to_string());
    assert_eq!(get_with(&app, "/", &ASKED).await.text(), "1");
    assert_eq!(get_with(&app, "/", &ASKED).await.x_cache(), "HIT");
    assert_eq!(get(&app, "/").await.text(), "2");
    assert_eq!(
        get_with(&app, "/", &[("x-api-key", "unknown")]).await.x_cache(),
        "BYPASS"
    );
}

#[tokio::test]
async fn in_the_shared_policy_the_response_decides() {
    for (said, is_shared) in [("max-age=60", false), ("public, max-age=60", true)] {
        let layer = CacheLayer::shared(cache().0).credentials([KEY]);
        let (app, calls) = app(layer, move |call, _| ([("cache-control", said)], call.to_string()));
        get_with(&app, "/", &ASKED).await;
        get(&app, "/").await;
        assert_eq!(calls.count() == 1, is_shared, "{said}");
    }
}
