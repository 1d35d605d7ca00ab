//! One user's response never reaches another user.

use axum::body::Body;
use axum::response::Response;
use cache_axum::CacheLayer;

use crate::server::{App, layer};
use crate::store::Store;

/// Sends a request for each of two users. Returns whether the second user got the first one's response.
async fn is_shared(layer: CacheLayer, url: &str, asked: [&[(&str, &str)]; 2], answered: &[(&str, &str)]) -> bool {
    let answered: Vec<(String, String)> = answered.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    let (app, calls) = App::answering(layer, move |call, _| {
        let mut response = Response::builder();
        for (name, value) in &answered {
            response = response.header(name, value);
        }
        response.body(Body::from(call.to_string())).unwrap()
    })
    .await;
    let first = app.get_with(url, asked[0]).await;
    let second = app.get_with(url, asked[1]).await;
    let shared = second.text() == "1";
    assert_eq!(first.text(), "1");
    assert_eq!(shared, second.x_cache() == "HIT", "{}", second.cache_status());
    assert_eq!(shared, calls.count() == 1);
    shared
}

pub async fn requests_with_credentials_share_nothing(store: Store) {
    let alice: [&[(&str, &str)]; 2] = [&[("authorization", "Bearer alice")], &[("cookie", "session=alice")]];
    let bob: [&[(&str, &str)]; 2] = [&[("authorization", "Bearer bob")], &[("cookie", "session=bob")]];
    let layer = layer(&store).await;
    for (field, (alice, bob)) in alice.into_iter().zip(bob).enumerate() {
        let url = |case: &str| format!("/{field}/{case}");
        assert!(!is_shared(layer.clone(), &url("two"), [alice, bob], &[]).await);
        assert!(!is_shared(layer.clone(), &url("self"), [alice, alice], &[]).await);
        assert!(!is_shared(layer.clone(), &url("to-all"), [alice, &[]], &[]).await);
        assert!(!is_shared(layer.clone(), &url("from-all"), [&[], alice], &[]).await);
        assert!(is_shared(layer.clone(), &url("nobody"), [&[], &[]], &[]).await);
        let allowed = layer.clone().allow_authorization(true).allow_cookies(true);
        assert!(is_shared(allowed, &url("allowed"), [alice, bob], &[]).await);
    }
}

pub async fn answers_for_one_are_not_stored(store: Store) {
    let layer = layer(&store).await;
    for (number, answered) in [
        ("set-cookie", "session=1"),
        ("cache-control", "private"),
        ("cache-control", "max-age=60, No-Store"),
        ("vary", "*"),
    ]
    .into_iter()
    .enumerate()
    {
        let url = format!("/{number}");
        assert!(
            !is_shared(layer.clone(), &url, [&[], &[]], &[answered]).await,
            "{answered:?}"
        );
    }
    for (number, answered) in [
        ("x-cookie", "session=1"),
        ("cache-control", "public"),
        ("vary", "accept"),
    ]
    .into_iter()
    .enumerate()
    {
        let url = format!("/shared/{number}");
        assert!(
            is_shared(layer.clone(), &url, [&[], &[]], &[answered]).await,
            "{answered:?}"
        );
    }
}

pub async fn each_user_has_own_answers(store: Store) {
    let layer = layer(&store)
        .await
        .per_user(|parts| match parts.headers.get("authorization")?.to_str().ok()? {
            "token-a" => Some("alice".to_owned()),
            "token-b" => Some("bob".to_owned()),
            _ => None,
        });
    let (app, calls) = App::answering(layer, |_, parts| {
        let token = parts.headers.get("authorization");
        token.map_or("nobody", |value| value.to_str().unwrap()).to_owned()
    })
    .await;
    for x_cache in ["MISS", "HIT"] {
        for token in ["token-a", "token-b"] {
            let reply = app.get_with("/", &[("authorization", token)]).await;
            assert_eq!((reply.text(), reply.x_cache()), (token, x_cache));
        }
        let nobody = app.get("/").await;
        assert_eq!((nobody.text(), nobody.x_cache()), ("nobody", x_cache));
    }
    let forged = app.get_with("/", &[("authorization", "token-c")]).await;
    assert_eq!((forged.text(), forged.x_cache()), ("token-c", "BYPASS"));
    assert_eq!(calls.count(), 4);
}
