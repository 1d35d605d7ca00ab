//! The page for operators, and its figures.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cache_axum::cache_engine::cache_core::{ErrorKind, ManualClock};
use cache_axum::cache_engine::{Cache, Event};
use cache_axum::{AdminRouter, CacheLayer};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use support::{Calls, Reply, bytes_only, cache, get, request, send};
use tower_layer::layer_fn;

const TOKEN: &str = "a-long-random-text";
const MINUTE: Duration = Duration::from_secs(60);

/// What a client may send to whoever shows it without care.
const HOSTILE: &str = "</script><img src=x onerror=alert(1)>'\"&amp;\u{202e}";

/// An app whose answers are numbered, with an admin page at `/admin`.
struct App {
    router: Router,
    cache: Cache,
    calls: Calls,
}

impl App {
    fn new(cache: Cache) -> Self {
        let calls = Calls::default();
        let layer = CacheLayer::new(cache.clone())
            .ttl(MINUTE)
            .stale_while_revalidate(MINUTE)
            .tags(["pages"]);
        let admin: Router = AdminRouter::with_token(&layer, TOKEN).unwrap();
        let counter = calls.clone();
        let pages = Router::new()
            .fallback(move |uri: http::Uri| async move { answer(&uri, counter.add()) })
            .layer(layer);
        Self {
            router: Router::new().nest("/admin", admin).fallback_service(pages),
            cache,
            calls,
        }
    }

    /// Asks as somebody who has the token.
    async fn ask(&self, method: Method, path: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        let bearer = format!("Bearer {TOKEN}");
        let mut request = request(method, path, &[("authorization", &bearer)]);
        for (name, value) in fields {
            let name = http::HeaderName::try_from(*name).unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        *request.body_mut() = Body::from(body.to_owned());
        send(&self.router, request).await
    }

    async fn figures(&self) -> Value {
        let reply = self.ask(Method::GET, "/admin/stats", &[], "").await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::OK, "application/json")
        );
        serde_json::from_slice(&reply.body).unwrap()
    }

    async fn purge(&self, order: Value) -> (StatusCode, Value) {
        let fields = [("content-type", "application/json")];
        let reply = self
            .ask(Method::POST, "/admin/purge", &fields, &order.to_string())
            .await;
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    async fn x_cache(&self, path: &str) -> String {
        get(&self.router, path).await.x_cache().to_owned()
    }
}

fn answer(uri: &http::Uri, call: usize) -> Response {
    match uri.path() {
        "/private" => ([("cache-control", "private")], "mine").into_response(),
        _ => call.to_string().into_response(),
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let app = App::new(cache().0);
    let wrong = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some("Bearer a-long-random-tex".to_owned()),
        Some("Bearer a-long-random-texts".to_owned()),
        Some(TOKEN.to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some("Basic !".to_owned()),
        Some(format!("Basic {}", STANDARD.encode(TOKEN))),
        Some(basic("me", "")),
        Some(basic("me", "a-long-random-tex")),
        Some(basic(TOKEN, "me")),
    ];
    let right = [format!("bearer {TOKEN}"), basic("me", TOKEN), basic("", TOKEN)];
    let routes = [
        (Method::GET, "/admin"),
        (Method::GET, "/admin/stats"),
        (Method::GET, "/admin/inspect?key=1"),
        (Method::POST, "/admin/purge"),
    ];
    for (method, path) in &routes {
        let ask = async |authorization: Option<&str>| {
            let fields = authorization.map(|value| ("authorization", value));
            let fields: Vec<_> = fields
                .into_iter()
                .chain([("content-type", "application/json")])
                .collect();
            send(&app.router, request(method.clone(), path, &fields)).await
        };
        for authorization in &wrong {
            let reply = ask(authorization.as_deref()).await;
            assert_eq!(
                reply.status,
                StatusCode::UNAUTHORIZED,
                "{method} {path} {authorization:?}"
            );
            let challenges: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
            assert_eq!(challenges, [r#"Basic realm="cache", charset="UTF-8""#, "Bearer"]);
        }
        // The control.
        for authorization in &right {
            let reply = ask(Some(authorization)).await;
            assert_ne!(
                reply.status,
                StatusCode::UNAUTHORIZED,
                "{method} {path} {authorization}"
            );
        }
    }
}

#[test]
fn a_token_that_protects_nothing_is_refused() {
    let layer = support::layer();
    for (token, said) in [("", "empty"), ("two words", "spaces"), ("ä", "ASCII")] {
        let error = AdminRouter::with_token::<()>(&layer, token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn an_authentication_of_ones_own_guards_every_route() {
    let layer = support::layer();
    let closed = layer_fn(|_| {
        tower::service_fn(|_: axum::extract::Request| async {
            Ok::<_, std::convert::Infallible>(StatusCode::FORBIDDEN)
        })
    });
    let admin: Router = AdminRouter::behind(&layer, closed);
    let app = Router::new().nest("/admin", admin);
    for path in ["/admin", "/admin/stats", "/admin/inspect?key=1", "/admin/purge"] {
        let reply = get(&app, path).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path}");
        // The answer is its own: a page to log in may need scripts.
        assert_eq!(reply.headers.get("content-security-policy"), None, "{path}");
    }
    let open = layer_fn(|route: axum::routing::Route| route);
    let admin: Router = AdminRouter::behind(&layer, open);
    let reply = get(&Router::new().nest("/admin", admin), "/admin").await;
    assert_eq!(
        (reply.status, reply.header("x-frame-options")),
        (StatusCode::OK, "DENY")
    );
}

#[tokio::test]
async fn what_another_site_makes_a_browser_send_is_refused() {
    let app = App::new(cache().0);
    app.x_cache("/items").await;
    let json = ("content-type", "application/json");
    let refused: &[&[(&str, &str)]] = &[
        &[json, ("sec-fetch-site", "cross-site")],
        &[json, ("sec-fetch-site", "same-site")],
        &[json, ("sec-fetch-site", "")],
        &[
            json,
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ],
        &[json, ("sec-fetch-site", "cross-site"), ("origin", "http://test")],
        &[json, ("origin", "http://elsewhere.example")],
        &[json, ("origin", "http://test:8080")],
        &[json, ("origin", "http://test.elsewhere.example")],
        &[json, ("origin", "http://test@elsewhere.example")],
        &[json, ("origin", "null")],
        &[json, ("origin", "test")],
        &[json, ("origin", "http://test"), ("origin", "http://elsewhere.example")],
    ];
    let unsendable: &[&[(&str, &str)]] = &[
        &[],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "multipart/form-data; boundary=application/json")],
        &[("content-type", "text/plain; application/json")],
        &[("content-type", "text/plain"), ("sec-fetch-site", "same-origin")],
    ];
    let allowed: &[&[(&str, &str)]] = &[
        &[json],
        &[json, ("sec-fetch-site", "same-origin")],
        &[
            json,
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://elsewhere.example"),
        ],
        &[json, ("sec-fetch-site", "none")],
        &[json, ("origin", "http://test")],
        &[json, ("origin", "https://test")],
        &[json, ("origin", "https://TEST")],
        &[("content-type", "Application/JSON; charset=utf-8")],
    ];
    let body = json!({"all": true}).to_string();
    for (cases, status) in [
        (refused, StatusCode::FORBIDDEN),
        (unsendable, StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        for fields in cases {
            let reply = app.ask(Method::POST, "/admin/purge", fields, &body).await;
            assert_eq!(reply.status, status, "{fields:?}: {}", reply.text());
            assert_eq!(app.x_cache("/items").await, "HIT", "{fields:?}");
        }
    }
    for fields in refused {
        for path in ["/admin/stats", "/admin/inspect?url=/items"] {
            let reply = app.ask(Method::GET, path, fields, "").await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path} {fields:?}");
        }
        // A link on another site may lead to the page.
        let reply = app.ask(Method::GET, "/admin", fields, "").await;
        assert_eq!(reply.status, StatusCode::OK, "{fields:?}");
    }
    // The control: the same order is carried out if it is the page's own.
    for fields in allowed {
        app.x_cache("/items").await;
        let reply = app.ask(Method::POST, "/admin/purge", fields, &body).await;
        assert_eq!(reply.status, StatusCode::OK, "{fields:?}: {}", reply.text());
        assert_eq!(app.x_cache("/items").await, "MISS", "{fields:?}");
    }
    // Nothing but POST purges.
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let reply = app.ask(method, "/admin/purge", &[json], &body).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    assert_eq!(app.x_cache("/items").await, "HIT");
}

#[tokio::test]
async fn every_response_is_protected() {
    let app = App::new(cache().0);
    let replies = [
        app.ask(Method::GET, "/admin", &[], "").await,
        app.ask(Method::GET, "/admin/stats", &[], "").await,
        app.ask(Method::GET, "/admin/stats", &[("sec-fetch-site", "cross-site")], "")
            .await,
        app.ask(Method::GET, "/admin/inspect?url=/items", &[], "").await,
        app.ask(Method::POST, "/admin/purge", &[], "").await,
        get(&app.router, "/admin").await,
    ];
    for reply in replies {
        let policy = reply.header("content-security-policy");
        for directive in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.contains(directive), "{directive}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(reply.header(name), value, "{name}");
        }
    }
}

/// A layer around everything, the page included, does not store the page, even if it stores what has credentials.
#[tokio::test]
async fn a_layer_around_it_does_not_store_it() {
    let layer = CacheLayer::new(cache().0).ttl(MINUTE).allow_authorization(true);
    let admin: Router = AdminRouter::with_token(&layer, TOKEN).unwrap();
    let app = Router::new().nest("/admin", admin).layer(layer);
    let bearer = format!("Bearer {TOKEN}");
    for path in ["/admin", "/admin/stats"] {
        for _ in 0..2 {
            let reply = support::get_with(&app, path, &[("authorization", &bearer)]).await;
            assert_eq!((reply.status, reply.x_cache()), (StatusCode::OK, "MISS"), "{path}");
        }
    }
}

#[tokio::test]
async fn the_page_is_one_document_without_assets() {
    let app = App::new(cache().0);
    let reply = app.ask(Method::GET, "/admin", &[], "").await;
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    let page = reply.text();
    for absent in ["http://", "src=", "@import", "url("] {
        let rest = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!rest.contains(absent), "{absent}");
    }
    // Nothing in its script parses markup, and nothing in it is code in disguise.
    for absent in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "onclick",
        "style=",
    ] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("viewport"));
}

#[tokio::test]
async fn the_figures_are_those_of_the_cache() {
    let app = App::new(cache().0);
    let users = app.cache.with_namespace("users:eu");
    for path in ["/items", "/items", "/items", "/private", "/private"] {
        app.x_cache(path).await;
    }
    send(&app.router, request(Method::POST, "/items", &[])).await;
    users.get::<u32>("7").await.unwrap();
    users.set("42", 1_u32).await.unwrap();
    users.get::<u32>("42").await.unwrap();
    users.invalidate("42").await.unwrap();
    app.cache.soft().invalidate_tag("user:42").await.unwrap();
    app.cache.invalidate_tag("user:42").await.unwrap();
    app.cache.clear("users:eu").await.unwrap();
    app.cache.clear_all().await.unwrap();

    let figures = app.figures().await;
    let total = app.cache.stats().total();
    for counts in ["since_start", "last_hour"] {
        let counts = &figures[counts];
        assert_eq!(counts["requests"], json!(total.requests()));
        assert_eq!(counts["hit_ratio"], json!(total.hit_ratio()));
        let outcomes = json!({
            "hit_near": 0, "hit_store": 3, "stale": 0, "negative_hit": 0, "miss": 4, "outage": 0, "bypassed": 1,
        });
        assert_eq!(counts["outcomes"], outcomes);
        let refused = json!([{"reason": "private", "meaning": "the response says private", "count": 2}]);
        assert_eq!(counts["refused"], refused);
        let bypassed = &counts["bypassed"][0];
        assert_eq!((&bypassed["reason"], &bypassed["count"]), (&json!("method"), &json!(1)));
        assert!(bypassed["meaning"].as_str().unwrap().contains("method"));
        assert_eq!(counts["loads"]["ended"], json!(total.loads.count()));
        assert!(counts["loads"]["p95"].as_f64().unwrap() > 0.0);
    }
    for (name, value) in [
        ("backend", json!("memory")),
        ("enabled", json!(true)),
        ("breaker", json!("closed")),
        ("subscription", json!("unsupported")),
        ("pending_invalidations", json!(0)),
        ("in_flight", json!(0)),
        ("tag_invalidations", json!(2)),
        ("clears", json!(1)),
        ("near", json!(null)),
    ] {
        assert_eq!(figures[name], value, "{name}");
    }
    assert!(figures["store"]["bytes"].is_u64());
    let names: Vec<_> = figures["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|namespace| &namespace["name"])
        .collect();
    assert_eq!(
        names,
        [&json!(""), &json!("users:eu")],
        "as programs write them, the largest first"
    );
    let invalidations = figures["invalidations"].as_array().unwrap();
    let seen: Vec<_> = invalidations
        .iter()
        .map(|event| {
            (
                event["target"].as_str().unwrap(),
                event["name"].as_str(),
                event["soft"].as_bool().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("everything", None, false),
        ("namespace", Some("users:eu"), false),
        ("tag", Some("user:42"), false),
        ("tag", Some("user:42"), true),
        ("key", Some("42"), false),
    ];
    assert_eq!(seen[..5], expected);
    assert_eq!(invalidations[4]["namespace"], json!("users:eu"));
    let refusal = &figures["refusals"][0];
    assert_eq!(
        (&refusal["name"], &refusal["reason"], &refusal["count"]),
        (&json!("GET test/private"), &json!("private"), &json!(2))
    );
}

#[tokio::test]
async fn a_cache_without_a_layer_has_a_page_too() {
    let cache = cache().0;
    cache.set("42", 1_u32).await.unwrap();
    let admin: Router = AdminRouter::with_token(&cache, TOKEN).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let reply = support::get_with(&admin, "/inspect?key=42", &[("authorization", &bearer)]).await;
    let seen: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(seen["found"][0]["store"]["state"], json!("fresh"));
}

#[tokio::test]
async fn an_outage_is_seen() {
    let backend = bytes_only(&ManualClock::new());
    backend.fail(ErrorKind::Unavailable);
    let app = App::new(Cache::builder(backend).build());
    for _ in 0..5 {
        app.x_cache("/items").await;
    }
    let (status, answer) = app.purge(json!({"tag": "pages"})).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}");
    let figures = app.figures().await;
    assert_eq!(figures["breaker"], json!("open"));
    assert_eq!(figures["pending_invalidations"], json!(1));
    assert_eq!(figures["since_start"]["outcomes"]["outage"], json!(5));
    assert!(figures["store_failures"].as_u64().unwrap() > 0);
    assert_eq!(figures["recent_failures"]["store"], figures["store_failures"]);
    assert!(
        figures["store_failure"]["error"]
            .as_str()
            .is_some_and(|error| !error.is_empty())
    );
    assert!(figures["store_failure"]["operation"].is_string(), "{figures}");
    assert_eq!(figures["refusals"][0]["reason"], json!("outage"));
}

/// Keys, tags and namespaces are data: they are in the JSON as they are, and nowhere else.
#[tokio::test]
async fn hostile_names_are_data() {
    let app = App::new(cache().0);
    let hostile = app.cache.with_namespace(HOSTILE);
    hostile.with_tags([HOSTILE]).set(HOSTILE, 1_u32).await.unwrap();
    hostile.get::<u32>(HOSTILE).await.unwrap();

    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("key", HOSTILE)
        .append_pair("namespace", HOSTILE)
        .finish();
    let reply = app.ask(Method::GET, &format!("/admin/inspect?{query}"), &[], "").await;
    assert_eq!(reply.header("content-type"), "application/json");
    let seen: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(seen["found"][0]["store"]["tags"], json!([HOSTILE]));

    app.purge(json!({"tag": HOSTILE})).await;
    app.purge(json!({"key": HOSTILE, "namespace": HOSTILE})).await;
    app.purge(json!({"namespace": HOSTILE})).await;
    let private = format!(
        "/private?{}",
        form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect::<String>()
    );
    app.x_cache(&private).await;
    let figures = app.figures().await;
    assert_eq!(figures["namespaces"][0]["name"], json!(HOSTILE));
    let names: Vec<_> = figures["invalidations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["name"])
        .collect();
    assert_eq!(names, [&json!(HOSTILE); 3]);

    let page = app.ask(Method::GET, "/admin", &[], "").await;
    assert!(!page.text().contains("onerror"), "the page has nothing of the cache");
}

#[tokio::test]
async fn each_kind_of_purge_reaches_what_it_names() {
    let app = App::new(cache().0);
    let users = app.cache.with_namespace("users");
    let fill = async || {
        app.x_cache("/items").await;
        users.with_tags(["user:42"]).set("42", 1_u32).await.unwrap();
        users.set("43", 1_u32).await.unwrap();
    };
    // Whether the URL, the tagged user and the other user are still there.
    let left = async || {
        let url = app.x_cache("/items").await == "HIT";
        let tagged = users.get::<u32>("42").await.unwrap().is_some();
        (url, tagged, users.get::<u32>("43").await.unwrap().is_some())
    };
    let cases = [
        (json!({"url": "/items"}), (false, true, true)),
        (json!({"key": "43", "namespace": "users"}), (true, true, false)),
        (json!({"tag": "user:42"}), (true, false, true)),
        (json!({"tag": "pages"}), (false, true, true)),
        (json!({"namespace": "users"}), (true, false, false)),
    ];
    for (order, expected) in cases {
        fill().await;
        let (status, answer) = app.purge(order.clone()).await;
        assert_eq!(
            (status, &answer["soft"]),
            (StatusCode::OK, &json!(false)),
            "{order}: {answer}"
        );
        assert_eq!(left().await, expected, "{order}");
    }
}

#[tokio::test]
async fn a_soft_purge_keeps_copies_for_their_stale_windows() {
    let clock = ManualClock::new();
    let backend = cache_memory::MemoryBackend::builder().clock(clock.clone()).build();
    let cache = Cache::builder(backend).clock(clock).tag_namespaces(true).build();
    let app = App::new(cache);
    let orders = [
        json!({"url": "/items", "soft": true}),
        json!({"key": "GET test/items", "soft": true}),
        json!({"tag": "pages", "soft": true}),
        json!({"namespace": "", "soft": true}),
    ];
    for order in orders {
        app.purge(json!({"all": true})).await;
        assert_eq!(app.x_cache("/items").await, "MISS");
        let (calls, before) = (app.calls.count(), app.figures().await);
        let (status, answer) = app.purge(order.clone()).await;
        assert_eq!(
            (status, &answer["soft"]),
            (StatusCode::OK, &json!(true)),
            "{order}: {answer}"
        );
        assert_eq!(app.x_cache("/items").await, "STALE", "{order}");
        while app.calls.count() == calls {
            tokio::task::yield_now().await;
        }
        let last = &app.figures().await["invalidations"][0];
        assert_eq!(last["soft"], json!(true), "{order}: {last}");
        assert_ne!(before["invalidations"][0]["soft"], json!(true));
    }
    let (status, answer) = app.purge(json!({"tga": "a"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
}

/// The history has samples, although nobody asks for it, and they reach back an hour and no further.
#[tokio::test(start_paused = true)]
async fn the_last_hour_is_sampled_in_the_background() {
    let app = App::new(cache().0);
    app.x_cache("/items").await;
    let hour = Duration::from_secs(3_600);
    for (waited, in_the_last_hour) in [(hour / 2, 1), (hour, 0), (4 * hour, 0)] {
        tokio::time::sleep(waited).await;
        let figures = app.figures().await;
        let history = figures["history"].as_array().unwrap();
        assert!((50..=120).contains(&history.len()), "{}", history.len());
        let oldest = history[0]["from"].as_f64().unwrap();
        assert!((1_700.0..=3_600.0).contains(&oldest), "{oldest}");
        let misses = |counts: &str| figures[counts]["outcomes"]["miss"].as_u64().unwrap();
        assert_eq!(
            (misses("last_hour"), misses("since_start")),
            (in_the_last_hour, 1),
            "{waited:?}"
        );
    }
}

/// The control of the next test: while the router is there, so is the task.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn the_task_ends_with_the_router() {
    let layer = support::layer();
    let before = tasks();
    let admin: Router = AdminRouter::with_token(&layer, TOKEN).unwrap();
    let clone = admin.clone();
    assert_eq!(tasks(), before + 1);
    drop(admin);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), before + 1, "a clone is still there");
    drop(clone);
    while tasks() > before {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_router_that_is_built_outside_of_a_runtime_samples_from_the_first_request_on() {
    let app = App::new(cache().0);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let history = async || app.figures().await["history"].as_array().unwrap().len();
    runtime().block_on(async {
        let before = history().await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(history().await > before + 4);
    });
    // The first runtime has taken its task along.
    runtime().block_on(async {
        assert_eq!(tasks(), 0);
        history().await;
        assert_eq!(tasks(), 1);
        history().await;
        assert_eq!(tasks(), 1);
    });
}

#[tokio::test]
async fn memory_is_bounded() {
    let app = App::new(cache().0);
    for n in 0..2_000 {
        let name = format!("{n}-{}", "x".repeat(2_000));
        app.cache
            .with_namespace(&name[..20])
            .invalidate(name.as_str())
            .await
            .unwrap();
        app.x_cache(&format!("/private?{n}")).await;
    }
    let reply = app.ask(Method::GET, "/admin/stats", &[], "").await;
    assert!(reply.body.len() < 100_000, "{}", reply.body.len());
    let figures: Value = serde_json::from_slice(&reply.body).unwrap();
    for (list, most) in [("invalidations", 50), ("refusals", 50), ("namespaces", 20)] {
        assert_eq!(figures[list].as_array().unwrap().len(), most, "{list}");
    }
    assert!(figures["more_namespaces"].as_u64().unwrap() >= 980);
    let last = &figures["invalidations"][0];
    assert!(last["name"].as_str().unwrap().starts_with("1999-x"), "{last}");
    assert_eq!(last["is_cut"], json!(true));
}

/// What the page shows is also what observers see.
#[tokio::test]
async fn soft_invalidations_are_told_apart_by_events() {
    let (tell, seen) = std::sync::mpsc::channel();
    let observer = move |event: &Event<'_>| {
        let said = match event {
            Event::Invalidated { soft, .. } => ("key", *soft),
            Event::Cleared { soft, .. } => ("cleared", *soft),
            _ => return,
        };
        let _ = tell.send(said);
    };
    let cache = Cache::builder(cache_memory::MemoryBackend::default())
        .tag_namespaces(true)
        .observer(observer)
        .build();
    cache.invalidate("1").await.unwrap();
    cache.soft().invalidate("1").await.unwrap();
    cache.soft().invalidate_many(["1", "2"]).await.unwrap();
    cache.clear("users").await.unwrap();
    cache.soft().clear("users").await.unwrap();
    let seen: Vec<_> = seen.try_iter().collect();
    let key = |soft| ("key", soft);
    let cleared = |soft| ("cleared", soft);
    assert_eq!(
        seen,
        [
            key(false),
            key(true),
            key(true),
            key(true),
            cleared(false),
            cleared(true)
        ]
    );
}

/// Over HTTP/2 and through proxies, the host may be in the URI.
#[tokio::test]
async fn the_host_of_a_request_may_be_in_its_uri() {
    let app = App::new(cache().0);
    for (origin, status) in [
        ("https://shop.example", StatusCode::OK),
        ("https://other.example", StatusCode::FORBIDDEN),
    ] {
        let request = Request::get("https://shop.example/admin/stats")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("origin", origin)
            .body(Body::empty())
            .unwrap();
        assert_eq!(send(&app.router, request).await.status, status, "{origin}");
    }
}
