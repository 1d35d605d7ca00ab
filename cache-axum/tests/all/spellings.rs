//! One normal form of a URI (RFC 3986, section 6.2.2; RFC 9110, section 4.2.3) for keys, writes, handles and purges.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Calls, Reply, app, bytes_only, cache, get, get_with, idle, layer, reply, request, send, start};
use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Path};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get as get_route, post};
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;
use cache_axum::{CacheHandle, CacheLayer, InvalidateLayer, PurgeRouter, Query, SurrogateKeys};
use http::request::Parts;
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

/// Each closure of the user sees a path and a host in the spelling that the handler sees, around all routers and in them.
#[tokio::test]
async fn closures_see_the_normal_spelling() {
    type Seen = Arc<Mutex<Vec<String>>>;
    fn note(seen: &Seen, who: &str, request: &Parts) {
        let original = request.extensions.get::<OriginalUri>();
        let original = original.map_or_else(|| request.uri.path_and_query(), |original| original.path_and_query());
        let host = request.headers.get("host").map_or("", |host| host.to_str().unwrap());
        let text = format!(
            "{who} {host} {} {}",
            request.uri.path_and_query().unwrap(),
            original.unwrap()
        );
        seen.lock().unwrap().push(text);
    }
    let seen = Seen::default();
    let with = |who: &'static str| {
        let seen = Arc::clone(&seen);
        move |request: &Parts| note(&seen, who, request)
    };
    let (tags, user, bypass) = (with("tags_by"), with("per_user"), with("bypass_if"));
    let (debug, key) = (with("debug_if"), with("only_if"));
    let keys = SurrogateKeys::surrogate_key().only_if(move |request| {
        key(request);
        true
    });
    let layer = layer()
        .tags_by(move |request| {
            tags(request);
            vec![]
        })
        .per_user(move |request| {
            user(request);
            None
        })
        .bypass_if(move |request| {
            bypass(request);
            false
        })
        .debug_if(move |request| {
            debug(request);
            true
        })
        .surrogate_keys(keys);
    let (urls, write_tags) = (with("urls"), with("write tags_by"));
    let writes = InvalidateLayer::new(&layer)
        .urls(move |request| {
            urls(request);
            vec![]
        })
        .tags_by(move |request| {
            write_tags(request);
            vec![]
        });
    let in_handler = with("handler");
    let handler = move |request: Request<Body>| {
        let (parts, _) = request.into_parts();
        // What bypasses the cache is passed on as it is.
        if parts.method == Method::GET {
            in_handler(&parts);
        }
        async { "…" }
    };
    let around = Router::new()
        .fallback(handler.clone())
        .layer(layer.clone())
        .layer(writes.clone());
    let item = get_route(handler.clone()).put(handler.clone());
    let on_route = Router::new()
        .route("/items/{id}", item)
        .route_layer(layer.clone())
        .route_layer(writes.clone());
    let nested = Router::new().nest(
        "/items",
        Router::new()
            .route("/{id}", get_route(handler.clone()).put(handler))
            .layer(layer)
            .layer(writes),
    );
    for (name, app, rest) in [
        ("around", around, "/items"),
        ("on a route", on_route, "/items"),
        ("nested", nested, ""),
    ] {
        // A router compares the spelling of what is not in braces.
        for spelling in ["/items/%31~a?q=b~", "/items/1%7ea?q=%62%7E", CANONICAL] {
            for (method, closures) in [
                (
                    Method::GET,
                    &["per_user", "bypass_if", "only_if", "debug_if", "tags_by", "handler"][..],
                ),
                (Method::PUT, &["bypass_if", "urls", "write tags_by"]),
            ] {
                seen.lock().unwrap().clear();
                let request = Request::builder()
                    .method(method)
                    .uri(spelling)
                    .header("host", "TEST:80")
                    .header("cache-debug", "explain")
                    .header("cache-control", "no-cache");
                start(&app, request.body(Body::empty()).unwrap()).await;
                let seen = std::mem::take(&mut *seen.lock().unwrap());
                for closure in closures {
                    let expected = format!("{closure} test {rest}/1~a?q=b~ {CANONICAL}");
                    assert!(seen.contains(&expected), "{name} {spelling} {closure}: {seen:?}");
                    let of_closure = seen.iter().filter(|seen| seen.starts_with(closure));
                    assert_eq!(
                        of_closure.filter(|seen| **seen != expected).count(),
                        0,
                        "{name} {spelling}: {seen:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn an_invalidation_by_a_tag_of_the_path_reaches_all_spellings() {
    let path = |request: &Parts| vec![request.uri.path().to_owned()];
    for on_route in [false, true] {
        for spelling in ["/items/%31", "/items/1"] {
            let (cache, _) = cache();
            let layer = CacheLayer::new(cache.clone())
                .ttl(Duration::from_secs(60))
                .tags_by(path);
            let writes = InvalidateLayer::new(&layer).tags_by(path);
            let app = if on_route {
                let item = get_route(|| async { "item" }).post(|| async {});
                Router::new()
                    .route("/items/{id}", item)
                    .route_layer(layer.clone())
                    .route_layer(writes)
            } else {
                Router::new()
                    .fallback(|| async { "item" })
                    .layer(layer.clone())
                    .layer(writes)
            };
            // A list that shows the item.
            let list = Router::new()
                .fallback(|| async { "list" })
                .layer(layer.tags(["/items/1"]));
            let fill = async || {
                get(&app, spelling).await;
                get(&list, "/list").await;
            };
            fill().await;
            assert_eq!(get(&app, "/items/1").await.x_cache(), "HIT", "{spelling}");
            // The control: the tag of another item.
            cache.invalidate_tag("/items/2").await.unwrap();
            assert_eq!(get(&app, "/items/1").await.x_cache(), "HIT", "{spelling}");
            cache.invalidate_tag("/items/1").await.unwrap();
            assert_eq!(get(&app, "/items/1").await.x_cache(), "MISS", "{spelling}");
            fill().await;
            send(&app, request(Method::POST, "/items/2", &[])).await;
            assert_eq!(get(&list, "/list").await.x_cache(), "HIT");
            send(&app, request(Method::POST, spelling, &[])).await;
            assert_eq!(get(&list, "/list").await.x_cache(), "MISS", "{spelling}");
        }
    }
}

/// A condition on the path cannot be avoided by spelling it otherwise, nor a user.
#[tokio::test]
async fn conditions_and_users_by_path_hold_for_all_spellings() {
    let first = |request: &Parts| request.uri.path().split('/').nth(1).map(str::to_owned);
    let layer = layer()
        .bypass_if(|request| request.uri.path().starts_with("/preview/"))
        .per_user(first);
    let (app, _) = app(layer, |call, _| {
        ([("cache-control", "private, max-age=60")], call.to_string())
    });
    for spelling in ["/preview/1", "/%70review/1", "/previe%77/1"] {
        assert_eq!(get(&app, spelling).await.x_cache(), "BYPASS", "{spelling}");
    }
    assert_eq!(get(&app, "/%61nn/1").await.x_cache(), "MISS");
    for spelling in ["/ann/1", "/a%6en/1"] {
        assert_eq!(get(&app, spelling).await.x_cache(), "HIT", "{spelling}");
    }
    assert_eq!(get(&app, "/ben/1").await.x_cache(), "MISS");
}

/// A tag is made from what the key contains, so it does not depend on who was the first.
#[tokio::test]
async fn tags_see_no_parameter_that_the_key_leaves_out() {
    let (cache, _) = cache();
    let layer = CacheLayer::new(cache.clone())
        .ttl(Duration::from_secs(60))
        .query(Query::sorted().only(["page"]))
        .tags_by(|request| vec![request.uri.to_string()]);
    let (app, _) = app(layer, |call, _| call.to_string());
    get(&app, "/list?utm_source=a&page=2").await;
    cache.invalidate_tag("/list?utm_source=a&page=2").await.unwrap();
    assert_eq!(get(&app, "/list?page=2").await.x_cache(), "HIT");
    cache.invalidate_tag("/list?page=2").await.unwrap();
    assert_eq!(get(&app, "/list?page=2").await.x_cache(), "MISS");
}
