//! What is never stored or shared unless the route permits it. For each reason, the same exchange without it is stored.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{app, get, get_with, layer, request, send};
use axum::body::Body;
use axum::response::Response;
use cache_axum::{CacheLayer, DoNotStore};
use http::{Method, StatusCode};

/// Two equal requests; whether the second was answered from the cache.
async fn is_shared(layer: CacheLayer, asked: &[(&str, &str)], answered: &[(&str, &str)], status: u16) -> bool {
    let answered: Vec<(String, String)> = answered.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    let (app, calls) = app(layer, move |call, _| {
        let mut response = Response::builder().status(status);
        for (name, value) in &answered {
            response = response.header(name, value);
        }
        response.body(Body::from(format!("answer {call}"))).unwrap()
    });
    let first = get_with(&app, "/", asked).await;
    let second = get_with(&app, "/", asked).await;
    let shared = first.body == second.body;
    assert_eq!(shared, calls.count() == 1);
    assert_eq!(shared, second.x_cache() == "HIT", "{}", second.cache_status());
    assert_eq!(
        first.cache_status().contains("; stored"),
        shared,
        "{}",
        first.cache_status()
    );
    shared
}

#[tokio::test]
async fn a_plain_answer_is_stored() {
    assert!(is_shared(layer(), &[], &[], 200).await);
    assert!(is_shared(layer(), &[("accept", "text/html")], &[("x-more", "1")], 203).await);
}

#[tokio::test]
async fn requests_with_credentials_pass_by() {
    for asked in [("authorization", "Bearer a"), ("cookie", "session=1")] {
        assert!(!is_shared(layer(), &[asked], &[], 200).await, "{asked:?}");
        // Not even where the response allows it: that is for the shared policy to know.
        assert!(!is_shared(layer(), &[asked], &[("cache-control", "public, max-age=60")], 200).await);
    }
    assert!(
        is_shared(
            layer().allow_authorization(true),
            &[("authorization", "Bearer a")],
            &[],
            200
        )
        .await
    );
    assert!(is_shared(layer().allow_cookies(true), &[("cookie", "session=1")], &[], 200).await);
}

#[tokio::test]
async fn what_was_stored_for_all_is_not_looked_up_for_one() {
    let (app, _) = app(layer(), |call, parts| {
        let who = parts
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        format!("{call} {}", who.unwrap_or_default())
    });
    assert_eq!(get(&app, "/").await.text(), "1 ");
    let own = get_with(&app, "/", &[("authorization", "alice")]).await;
    assert_eq!((own.text(), own.x_cache()), ("2 alice", "BYPASS"));
    assert_eq!(own.cache_status(), "cache; fwd=bypass; detail=authorization");
    assert_eq!(get(&app, "/").await.text(), "1 ");
}

#[tokio::test]
async fn answers_for_one_are_not_stored() {
    for (answered, detail) in [
        (("set-cookie", "session=1"), "set-cookie"),
        (("cache-control", "private"), "private"),
        (("cache-control", "max-age=60, PRIVATE"), "private"),
        (("cache-control", "no-store"), "no-store"),
        (("cache-control", "no-cache"), "no-cache"),
        (("cache-control", "max-age=0"), "not-fresh"),
        (("vary", "*"), "vary-any"),
        (("vary", "accept, *"), "vary-any"),
        (("content-type", "text/event-stream; charset=utf-8"), "endless"),
    ] {
        assert!(!is_shared(layer(), &[], &[answered], 200).await, "{answered:?}");
        let (app, _) = app(layer(), move |_, _| ([answered], "…"));
        let reply = get(&app, "/").await;
        assert_eq!(reply.cache_status(), format!("cache; fwd=uri-miss; detail={detail}"));
        assert_eq!(reply.header(answered.0), answered.1);
    }
    assert!(is_shared(layer(), &[], &[("cache-control", "max-age=60")], 200).await);
    assert!(is_shared(layer(), &[], &[("cache-control", "public")], 200).await);
    assert!(is_shared(layer(), &[], &[("vary", "accept")], 200).await);
    assert!(is_shared(layer().allow_set_cookie(true), &[], &[("set-cookie", "seen=1")], 200).await);
    assert!(
        is_shared(
            layer().policy_with(|policy| policy.allow_private = true),
            &[],
            &[("cache-control", "private")],
            200
        )
        .await
    );
    assert!(
        is_shared(
            layer().policy_with(|policy| policy.allow_no_store = true),
            &[],
            &[("cache-control", "no-store")],
            200
        )
        .await
    );
    assert!(
        is_shared(
            layer().policy_with(|policy| policy.allow_vary_any = true),
            &[],
            &[("vary", "*")],
            200
        )
        .await
    );
}

#[tokio::test]
async fn errors_redirects_and_parts_are_not_stored() {
    for status in [206, 301, 302, 304, 400, 401, 404, 500, 503] {
        assert!(!is_shared(layer(), &[], &[], status).await, "{status}");
    }
    for status in [200, 201, 203] {
        assert!(is_shared(layer(), &[], &[], status).await, "{status}");
    }
    let with_404 = || layer().statuses(|status| status == StatusCode::NOT_FOUND);
    assert!(is_shared(with_404(), &[], &[], 404).await);
    assert!(!is_shared(with_404(), &[], &[], 200).await);
    assert!(!is_shared(layer().statuses(|_| true), &[], &[], 206).await);
}

#[tokio::test]
async fn a_handler_can_keep_an_answer_out() {
    let (app, calls) = app(layer(), |_, _| (DoNotStore, "…"));
    let reply = get(&app, "/").await;
    assert_eq!(reply.cache_status(), "cache; fwd=uri-miss; detail=do-not-store");
    get(&app, "/").await;
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn unsafe_methods_pass_by() {
    let (app, calls) = app(layer(), |call, _| call.to_string());
    for method in [
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ] {
        for _ in 0..2 {
            let reply = send(&app, request(method.clone(), "/", &[])).await;
            assert_eq!((reply.x_cache(), reply.cache_status()), ("BYPASS", "cache; fwd=method"));
        }
    }
    assert_eq!(calls.count(), 10);
}

#[tokio::test]
async fn a_get_with_content_passes_by() {
    let (app, calls) = app(layer(), |call, _| call.to_string());
    for _ in 0..2 {
        let mut request = request(Method::GET, "/", &[]);
        *request.body_mut() = Body::from("query");
        assert_eq!(
            send(&app, request).await.cache_status(),
            "cache; fwd=bypass; detail=content"
        );
    }
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn upgrades_and_preconditions_of_writers_pass_by() {
    for (asked, detail) in [
        (("upgrade", "websocket"), "upgrade"),
        (("if-match", "\"a\""), "precondition"),
    ] {
        let (app, _) = app(layer(), |_, parts| format!("{:?}", parts.headers));
        let reply = get_with(&app, "/", &[asked]).await;
        assert_eq!(reply.cache_status(), format!("cache; fwd=bypass; detail={detail}"));
        assert!(reply.text().contains(asked.0), "the handler sees it");
    }
}

#[tokio::test]
async fn a_cache_that_is_off_is_not_there() {
    let (cache, _) = crate::support::cache();
    let (app, calls) = app(CacheLayer::new(cache.clone()), |call, _| call.to_string());
    get(&app, "/").await;
    cache.set_enabled(false);
    assert_eq!(
        get(&app, "/").await.cache_status(),
        "cache; fwd=bypass; detail=disabled"
    );
    cache.set_enabled(true);
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    assert_eq!(calls.count(), 2);
}
