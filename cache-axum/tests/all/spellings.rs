//! One normal form of a URI (RFC 3986, section 6.2.2; RFC 9110, section 4.2.3) for keys, writes, handles and purges.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Calls, Reply, app, bytes_only, cache, get, get_with, idle, layer, reply, request, send, start};
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get as get_route, post};
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;
use cache_axum::{CacheHandle, CacheLayer, PurgeRouter};
use http::{HeaderMap, Method, Request, StatusCode};

/// Spellings of `http://test/items/1~a?q=b~`, as the tests' requests have it.
const SPELLINGS: [&str; 6] = [
    "/items/%31~a?q=b~",
    "/items/1%7ea?q=b~",
    "/items/1%7Ea?q=%62%7E",
    "/%69tems/1~a?%71=b~",
    "http://test/items/1~a?q=b~",
    "http://TEST:80/items/%31~%61?q=b~",
];

const CANONICAL: &str = "/items/1~a?q=b~";

async fn at_host(app: &Router, method: Method, host: &str, path: &str) -> Reply {
    let request = Request::builder().method(method).uri(path).header("host", host);
    reply(start(app, request.body(Body::empty()).unwrap()).await).await
}

#[tokio::test]
async fn all_spellings_get_one_answer() {
    let (app, calls) = app(layer(), |call, _| call.to_string());
    get(&app, CANONICAL).await;
    for spelling in SPELLINGS {
        let reply = if spelling.starts_with('/') {
            get(&app, spelling).await
        } else {
            send(&app, Request::builder().uri(spelling).body(Body::empty()).unwrap()).await
        };
        assert_eq!((reply.x_cache(), reply.text()), ("HIT", "1"), "{spelling}");
    }
    for host in ["TEST", "test.", "test:80", "test.:80", "test:443", "test:"] {
        assert_eq!(at_host(&app, Method::GET, host, CANONICAL).await.text(), "1", "{host}");
    }
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn what_a_handler_can_tell_apart_stays_apart() {
    let (app, calls) = app(layer(), |call, _| call.to_string());
    let paths = [
        "/a/b",
        "/a%2Fb",
        "/a//b",
        "/A/b",
        "/a/b/",
        "/a/./b",
        "/a/b?",
        "/a%3Fb",
        "/a+b",
        "/a%2Bb",
        "/a%20b",
        "/a%252Fb",
        "/a/b?c=%26",
        "/a/b?c=&",
    ];
    for path in paths {
        get(&app, path).await;
    }
    assert_eq!(calls.count(), paths.len());
    for host in ["test:8080", "test:81", "other", "test.other", "[::1]", "[::80]"] {
        let before = calls.count();
        at_host(&app, Method::GET, host, "/a/b").await;
        assert_eq!(calls.count(), before + 1, "{host}");
    }
}

#[tokio::test]
async fn a_write_reaches_its_target_however_either_is_spelled() {
    for spelling in SPELLINGS {
        let (app, _) = app(layer(), |call, _| call.to_string());
        get(&app, CANONICAL).await;
        // The negative control: something else was written.
        send(&app, request(Method::PUT, "/items/2~a?q=b~", &[])).await;
        assert_eq!(get(&app, CANONICAL).await.x_cache(), "HIT");
        let mut write = Request::builder().method(Method::PUT).uri(spelling);
        if spelling.starts_with('/') {
            write = write.header("host", "test");
        }
        send(&app, write.body(Body::empty()).unwrap()).await;
        assert_eq!(get(&app, CANONICAL).await.x_cache(), "MISS", "{spelling}");
    }
}

#[tokio::test]
async fn a_write_reaches_what_was_asked_for_in_another_spelling() {
    for spelling in SPELLINGS.iter().filter(|spelling| spelling.starts_with('/')) {
        let (app, _) = app(layer(), |call, _| call.to_string());
        get(&app, spelling).await;
        assert_eq!(get(&app, spelling).await.x_cache(), "HIT", "{spelling}");
        send(&app, request(Method::DELETE, CANONICAL, &[])).await;
        assert_eq!(get(&app, spelling).await.x_cache(), "MISS", "{spelling}");
    }
}

#[tokio::test]
async fn handles_and_purges_reach_it_too() {
    let calls = Calls::default();
    let counter = calls.clone();
    let layer = layer();
    let item = get_route(move |Path(id): Path<String>| {
        let call = counter.add();
        async move { format!("{call} {id}") }
    });
    let invalidate = post(|cache: CacheHandle, url: String| async move {
        let removed = cache.invalidate_url(&url).await;
        removed.map(drop).map_err(|error| error.to_string())
    });
    let app = Router::new()
        .route("/items/{id}", item)
        .route("/invalidate", invalidate)
        .layer(layer.clone())
        .nest("/purge", PurgeRouter::with_token(&layer, "token").unwrap());
    let send = |path: &'static str, body: String| {
        let request = Request::post(path)
            .header("host", "test")
            .header("authorization", "Bearer token");
        let app = app.clone();
        async move { reply(start(&app, request.body(Body::from(body)).unwrap()).await).await }
    };
    for url in [
        "/items/%31~",
        "/items/1%7e",
        "http://test:80/items/1~",
        "https://TEST.:443/items/1%7E",
    ] {
        get(&app, "/items/1~").await;
        assert_eq!(get(&app, "/items/1~").await.x_cache(), "HIT");
        assert!(send("/invalidate", url.to_owned()).await.status.is_success());
        assert_eq!(get(&app, "/items/1~").await.x_cache(), "MISS", "{url}");
        let purged = send("/purge", format!("{{\"url\": {url:?}}}")).await;
        assert!(purged.status.is_success(), "{}", purged.text());
        assert_eq!(get(&app, "/items/1~").await.x_cache(), "MISS", "{url}");
    }
}

#[tokio::test]
async fn a_location_is_followed_whatever_its_scheme_and_spelling() {
    for location in [
        "/items/%31",
        "http://test/items/1",
        "https://test/items/1",
        "https://TEST.:443/items/%31",
        "http://test:80/items/1",
        "//test/items/1",
    ] {
        for uri in ["/items", "http://test/items", "https://test/items"] {
            let (app, _) = app(layer(), move |call, _| ([("location", location)], call.to_string()));
            get(&app, "/items/1").await;
            send(&app, request(Method::POST, uri, &[])).await;
            assert_eq!(get(&app, "/items/1").await.x_cache(), "MISS", "{uri} {location}");
        }
    }
    for elsewhere in ["https://other/items/1", "http://test:8080/items/1"] {
        let (app, _) = app(layer(), move |call, _| ([("location", elsewhere)], call.to_string()));
        get(&app, "/items/1").await;
        send(&app, request(Method::POST, "/items", &[])).await;
        assert_eq!(get(&app, "/items/1").await.x_cache(), "HIT", "{elsewhere}");
    }
}

#[tokio::test]
async fn safe_methods_invalidate_nothing_and_unknown_ones_do() {
    for (method, x_cache) in [
        ("QUERY", "HIT"),
        ("PROPFIND", "HIT"),
        ("REPORT", "HIT"),
        ("SEARCH", "HIT"),
        ("OPTIONS", "HIT"),
        ("TRACE", "HIT"),
        ("PROPPATCH", "MISS"),
        ("FROBNICATE", "MISS"),
        ("query", "MISS"),
    ] {
        let (app, _) = app(layer(), |call, _| call.to_string());
        get(&app, "/").await;
        send(&app, request(Method::from_bytes(method.as_bytes()).unwrap(), "/", &[])).await;
        assert_eq!(get(&app, "/").await.x_cache(), x_cache, "{method}");
    }
}

#[tokio::test]
async fn a_host_in_another_spelling_poisons_nobody() {
    for layer in [layer(), CacheLayer::shared(cache().0)] {
        for host in ["SHOP.test", "shop.test.", "shop.test:80", "shop.test:443"] {
            let (app, _) = app(layer.clone(), |_, parts| {
                let host = parts.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
                (
                    [("cache-control", "max-age=60")],
                    format!("https://{}/login", host.unwrap_or_default()),
                )
            });
            let path = format!("/{}", host.len());
            let first = at_host(&app, Method::GET, host, &path).await;
            let second = at_host(&app, Method::GET, "shop.test", &path).await;
            assert_eq!(
                (first.text(), second.text()),
                ("https://shop.test/login", "https://shop.test/login")
            );
        }
    }
}

#[tokio::test]
async fn a_spelling_that_another_route_answers_poisons_nobody() {
    let layer = layer();
    let app = Router::new()
        .route(
            "/api/items/{id}",
            get_route(|Path(id): Path<u64>| async move { format!("item {id}") }),
        )
        .fallback(|| async { "<!doctype html>" })
        .layer(layer);
    // The router does not decode what it compares, so the page of the fallback answers.
    assert_eq!(get(&app, "/api/item%73/1").await.text(), "<!doctype html>");
    let reply = get(&app, "/api/items/1").await;
    assert_eq!((reply.x_cache(), reply.text()), ("MISS", "item 1"));
    // What the route itself takes for the same is the same.
    let reply = get(&app, "/api/items/%31").await;
    assert_eq!((reply.x_cache(), reply.text()), ("HIT", "item 1"));
    assert_eq!(get(&app, "/api/items/%32").await.x_cache(), "MISS");
    assert_eq!(get(&app, "/api/items/2").await.x_cache(), "HIT");
}

const SIGNED: [(&str, &str); 1] = [("authorization", "…")];

async fn signed_in(request: axum::extract::Request, next: Next) -> Response {
    match request.headers().contains_key("authorization") {
        true => next.run(request).await,
        false => StatusCode::UNAUTHORIZED.into_response(),
    }
}

#[tokio::test]
async fn no_spelling_reaches_what_a_route_protects() {
    let layer = layer().allow_authorization(true);
    let report = Router::new().route("/report", get_route(|| async { "secret" }));
    let report = report.layer(layer.clone()).route_layer(from_fn(signed_in));
    let protected = Router::new()
        .route("/reports/internal", get_route(|| async { "secret" }))
        .layer(layer.clone())
        .layer(from_fn(signed_in));
    let public = get_route(|Path(id): Path<String>| async move { format!("report {id}") });
    let reports = Router::new()
        .route("/reports/{id}", public)
        .layer(layer)
        .merge(protected);
    for (app, path, spelling, public) in [
        (report, "/report", "/r%65port", ""),
        (reports, "/reports/internal", "/reports/%69nternal", "report internal"),
    ] {
        for x_cache in ["MISS", "HIT"] {
            let reply = get_with(&app, path, &SIGNED).await;
            assert_eq!((reply.text(), reply.x_cache()), ("secret", x_cache), "{path}");
        }
        for _ in 0..2 {
            let reply = get(&app, spelling).await;
            assert_eq!((reply.text(), reply.x_cache()), (public, "MISS"), "{path}");
        }
        assert_eq!(get(&app, path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(get_with(&app, path, &SIGNED).await.x_cache(), "HIT", "{path}");
    }
}

/// `/users/me`, and `/users/{id}`, which serves the other spellings of it. A copy of the other is confirmed by mistake.
fn users(layer: CacheLayer, vary: &'static str) -> Router {
    let me = move |headers: HeaderMap| async move {
        match headers.contains_key("if-none-match") {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => ([("vary", vary)], "me").into_response(),
        }
    };
    let user = move |Path(id): Path<String>| async move { ([("vary", vary), ("etag", "\"1\"")], format!("user {id}")) };
    Router::new()
        .route("/users/me", get_route(me))
        .route("/users/{id}", get_route(user))
        .layer(layer)
}

async fn assert_reply(app: &Router, path: &str, expected: (&str, &str)) {
    let reply = get(app, path).await;
    assert_eq!((reply.x_cache(), reply.text()), expected, "{path}");
}

#[tokio::test]
async fn a_spelling_for_another_route_leaves_nothing_for_the_normal_one() {
    let minute = Duration::from_secs(60);
    for vary in ["", "accept-language"] {
        let (cache, _) = cache();
        let clock = ManualClock::new();
        let bytes = Cache::builder(bytes_only(&clock)).clock(clock).build();
        for cache in [cache, bytes] {
            let app = users(CacheLayer::new(cache).ttl(minute), vary);
            assert_reply(&app, "/users/%6de", ("MISS", "user me")).await;
            // The control: it is stored, for its own route.
            assert_reply(&app, "/users/%6de", ("HIT", "user me")).await;
            assert_reply(&app, "/users/%6D%65", ("HIT", "user me")).await;
            assert_reply(&app, "/users/me", ("MISS", "me")).await;
            for _ in 0..2 {
                assert_reply(&app, "/users/me", ("HIT", "me")).await;
                assert_reply(&app, "/users/%6de", ("MISS", "user me")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_stale_copy_of_another_route_is_not_revalidated() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache).ttl(Duration::from_secs(60));
    let app = users(
        layer.policy_with(|policy| policy.keep_for_validation = Duration::from_secs(600)),
        "",
    );
    assert_reply(&app, "/users/%6de", ("MISS", "user me")).await;
    clock.advance(Duration::from_secs(120));
    assert_reply(&app, "/users/me", ("MISS", "me")).await;
}

#[tokio::test]
async fn nobody_gets_the_load_of_another_route() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let calls = Calls::default();
    let (opens, counter) = (Arc::clone(&gate), calls.clone());
    let answer = move |text: String, status: StatusCode| {
        let opens = Arc::clone(&opens);
        counter.add();
        async move {
            opens.acquire().await.unwrap().forget();
            (status, text)
        }
    };
    for status in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::INTERNAL_SERVER_ERROR] {
        let (me, user) = (answer.clone(), answer.clone());
        let (cache, _) = cache();
        let layer = CacheLayer::new(cache.clone()).ttl(Duration::from_secs(60));
        let app = Router::new()
            .route("/users/me", get_route(move || me("me".to_owned(), StatusCode::OK)))
            .route(
                "/users/{id}",
                get_route(move |Path(id): Path<String>| user(format!("user {id}"), status)),
            )
            .layer(layer);
        let before = calls.count();
        let ask = |uri: &'static str| {
            let app = app.clone();
            tokio::spawn(async move { get(&app, uri).await })
        };
        let other = ask("/users/%6de");
        idle().await;
        let own: Vec<_> = (0..10).map(|_| ask("/users/me")).collect();
        idle().await;
        gate.add_permits(20);
        assert_eq!(other.await.unwrap().text(), "user me");
        for own in own {
            assert_eq!(own.await.unwrap().text(), "me", "{status}");
        }
        // Nothing that the other route says is held against this one.
        gate.forget_permits(usize::MAX);
        let before_others = calls.count();
        assert!(before_others > before + 1);
        cache.clear_all().await.unwrap();
        let own: Vec<_> = (0..10).map(|_| ask("/users/me")).collect();
        idle().await;
        assert_eq!(calls.count(), before_others + 1, "{status}");
        gate.add_permits(1);
        for own in own {
            assert_eq!(own.await.unwrap().text(), "me");
        }
    }
}

/// A gateway knows no routes: whatever the spelling, one service answers.
#[tokio::test]
async fn without_routes_each_spelling_is_stored_and_collapsed() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let calls = Calls::default();
    let (opens, counter) = (Arc::clone(&gate), calls.clone());
    let handler = move || {
        let (opens, call) = (Arc::clone(&opens), counter.add());
        async move {
            opens.acquire().await.unwrap().forget();
            ([("cache-control", "max-age=60")], call.to_string())
        }
    };
    let app = Router::new().fallback(handler).layer(CacheLayer::shared(cache().0));
    let asking: Vec<_> = (0..10)
        .map(|number| {
            let app = app.clone();
            let uri = ["/caf%c3%a9", "/caf%C3%A9", "/%63af%C3%a9"][number % 3];
            tokio::spawn(async move { get(&app, uri).await })
        })
        .collect();
    idle().await;
    gate.add_permits(10);
    for asking in asking {
        assert_eq!(asking.await.unwrap().text(), "1");
    }
    assert_reply(&app, "/caf%c3%a9", ("HIT", "1")).await;
}

#[tokio::test]
async fn characters_that_no_uri_can_contain_are_their_encoding() {
    let encoded = "/items/caf%C3%A9?q=%7Ba%7D";
    let raw = "/items/café?q={a}";
    let change = post(|cache: CacheHandle, url: String| async move {
        cache
            .invalidate_url(&url)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    });
    let location = [("location", raw)];
    let app = Router::new()
        .route(
            "/items/{name}",
            get_route(|request: axum::extract::Request| async move { request.uri().to_string() }).put(|| async {}),
        )
        .route("/invalidate", change)
        .route("/created", post(move || async move { (location, "…") }))
        .layer(layer());
    let post = |uri: &str, body: &'static str| {
        Request::post(uri)
            .header("host", "test")
            .body(Body::from(body))
            .unwrap()
    };
    for (write, gone) in [
        (request(Method::PUT, raw, &[]), true),
        (request(Method::PUT, encoded, &[]), true),
        (post("/invalidate", raw), true),
        (post("/created", ""), true),
        // The control.
        (request(Method::PUT, "/items/cafe?q={a}", &[]), false),
    ] {
        for (first, second) in [(raw, encoded), (encoded, raw)] {
            get(&app, first).await;
            assert_eq!(get(&app, second).await.text(), encoded);
            assert_eq!(get(&app, second).await.x_cache(), "HIT", "{second}");
        }
        let what = format!("{} {}", write.method(), write.uri());
        assert!(start(&app, write).await.status().is_success());
        let x_cache = if gone { "MISS" } else { "HIT" };
        assert_eq!(get(&app, encoded).await.x_cache(), x_cache, "{what}");
    }
}
