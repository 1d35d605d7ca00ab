//! The response to a POST answers a later GET, if RFC 9110, section 9.3.3, permits it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Reply, cache, get, get_with, idle, layer, request, send};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;
use cache_axum::{CacheHandle, CacheLayer};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;

type Lines = &'static [(&'static str, &'static str)];

const ALLOWED: Lines = &[("cache-control", "max-age=60"), ("content-location", "/doc")];

/// An app that says for which method an answer was made, and to POST these fields as well.
fn app(layer: CacheLayer, lines: Lines) -> Router {
    crate::support::app(layer, move |call, request| {
        let mut response = format!("{} {call}", request.method).into_response();
        if request.method == Method::POST {
            for (name, value) in lines {
                response.headers_mut().append(*name, value.parse().unwrap());
            }
        }
        response
    })
    .0
}

async fn post(app: &Router, uri: &str) -> Reply {
    let mut request = request(
        Method::POST,
        uri,
        &[("content-type", "text/plain"), ("if-none-match", "*")],
    );
    *request.body_mut() = Body::from("changed");
    send(app, request).await
}

#[tokio::test]
async fn a_get_gets_it() {
    let clock = ManualClock::new();
    let bytes = Cache::builder(crate::support::bytes_only(&clock)).clock(clock).build();
    for layer in [layer(), CacheLayer::shared(cache().0), CacheLayer::new(bytes)] {
        let app = app(layer, ALLOWED);
        get(&app, "/doc").await;
        let made = post(&app, "/doc").await;
        assert_eq!(
            (made.cache_status(), made.text()),
            ("cache; fwd=method; stored", "POST 2")
        );
        let hit = get(&app, "/doc").await;
        assert_eq!((hit.cache_status(), hit.text()), ("cache; hit; ttl=60", "POST 2"));
        assert_eq!(hit.header("content-type"), made.header("content-type"));
        assert_eq!(get(&app, "/other").await.text(), "GET 3");
        assert_eq!(
            post(&app, "/doc").await.text(),
            "POST 4",
            "a POST is never answered from the store"
        );
        assert_eq!(get(&app, "/doc").await.text(), "POST 4");
        let head = send(&app, request(Method::HEAD, "/doc", &[])).await;
        assert_eq!((head.x_cache(), head.header("content-length")), ("HIT", "6"));
    }
}

#[tokio::test]
async fn its_location_may_be_spelled_otherwise() {
    let lines: [Lines; 3] = [
        &[("cache-control", "max-age=60"), ("content-location", "http://test/doc")],
        &[
            ("cache-control", "max-age=60"),
            ("content-location", "https://test/doc"),
        ],
        &[("cache-control", "s-maxage=60"), ("content-location", "/%64oc")],
    ];
    for lines in lines {
        let app = app(layer(), lines);
        post(&app, "/doc").await;
        assert_eq!(get(&app, "/doc").await.x_cache(), "HIT", "{lines:?}");
    }
}

#[tokio::test]
async fn it_does_not_where_the_answer_does_not_say_so() {
    let lines: [Lines; 9] = [
        &[("cache-control", "max-age=60")],
        &[("content-location", "/doc")],
        &[("cache-control", "max-age=60"), ("content-location", "/other")],
        &[
            ("cache-control", "max-age=60"),
            ("content-location", "http://elsewhere/doc"),
        ],
        &[("cache-control", "max-age=60, private"), ("content-location", "/doc")],
        &[("cache-control", "max-age=60, no-store"), ("content-location", "/doc")],
        &[("cache-control", "max-age=0"), ("content-location", "/doc")],
        &[
            ("cache-control", "max-age=60"),
            ("content-location", "/doc"),
            ("set-cookie", "a=1"),
        ],
        &[
            ("cache-control", "max-age=60"),
            ("content-location", "/doc"),
            ("vary", "*"),
        ],
    ];
    for lines in lines {
        let app = app(layer(), lines);
        get(&app, "/doc").await;
        assert_eq!(
            post(&app, "/doc").await.cache_status(),
            "cache; fwd=method",
            "{lines:?}"
        );
        assert_eq!(get(&app, "/doc").await.text(), "GET 3", "{lines:?}");
    }
}

#[tokio::test]
async fn an_answer_to_credentials_is_for_nobody_else() {
    for credentials in [("authorization", "Bearer ann"), ("cookie", "session=1")] {
        let app = app(layer(), ALLOWED);
        send(&app, request(Method::POST, "/doc", &[credentials])).await;
        assert_eq!(get(&app, "/doc").await.text(), "GET 2", "{credentials:?}");
    }
    // The control: a user who is known gets what was made for that user.
    let by_name =
        |request: &http::request::Parts| Some(request.headers.get("authorization")?.to_str().ok()?.to_owned());
    let app = app(layer().per_user(by_name), ALLOWED);
    let (ann, ben) = ([("authorization", "Bearer ann")], [("authorization", "Bearer ben")]);
    send(&app, request(Method::POST, "/doc", &ann)).await;
    assert_eq!(get_with(&app, "/doc", &ann).await.text(), "POST 1");
    assert_eq!(get_with(&app, "/doc", &ben).await.text(), "GET 2");
    assert_eq!(get(&app, "/doc").await.text(), "GET 3");
}

#[tokio::test]
async fn it_is_what_its_variant_selects() {
    const VARIES: Lines = &[
        ("cache-control", "max-age=60"),
        ("content-location", "/doc"),
        ("vary", "accept-language"),
    ];
    let app = app(layer(), VARIES);
    let (de, en) = ([("accept-language", "de")], [("accept-language", "en")]);
    send(&app, request(Method::POST, "/doc", &de)).await;
    assert_eq!(get_with(&app, "/doc", &de).await.text(), "POST 1");
    assert_eq!(get_with(&app, "/doc", &en).await.text(), "GET 2");
}

/// An app whose POST has read its state, and then waits at a gate.
fn gated(layer: CacheLayer) -> (Router, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let inner = Arc::clone(&gate);
    let handler = move |cache: CacheHandle, request: Request| {
        let gate = Arc::clone(&inner);
        async move {
            match *request.method() {
                Method::POST => {
                    gate.acquire().await.unwrap().forget();
                    (ALLOWED.iter().copied().collect::<Headers>().0, "outdated").into_response()
                }
                Method::DELETE => {
                    cache.invalidate_tag("docs").await.unwrap();
                    StatusCode::NO_CONTENT.into_response()
                }
                _ => "current".into_response(),
            }
        }
    };
    (Router::new().fallback(handler).layer(layer), gate)
}

/// Header lines of an answer.
struct Headers(http::HeaderMap);

impl FromIterator<(&'static str, &'static str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'static str, &'static str)>>(lines: I) -> Self {
        let lines = lines.into_iter();
        Self(
            lines
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect(),
        )
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_while_it_was_made_is_not_stored() {
    let interruptions = [None, Some((Method::PUT, "/doc")), Some((Method::DELETE, "/elsewhere"))];
    for is_stored_before in [true, false] {
        for interruption in &interruptions {
            let (app, gate) = gated(layer().tags(["docs"]));
            if is_stored_before {
                get(&app, "/doc").await;
            }
            let posting = tokio::spawn({
                let app = app.clone();
                async move { post(&app, "/doc").await }
            });
            idle().await;
            if let Some((method, uri)) = interruption {
                send(&app, request(method.clone(), uri, &[])).await;
            }
            gate.add_permits(1);
            assert_eq!(posting.await.unwrap().text(), "outdated");
            // The control: without an interruption it is stored.
            let expected = if interruption.is_none() { "outdated" } else { "current" };
            assert_eq!(
                get(&app, "/doc").await.text(),
                expected,
                "{interruption:?} {is_stored_before}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_that_takes_its_time_holds_nobody_up() {
    // In this process, and in another one.
    for is_elsewhere in [false, true] {
        let clock = ManualClock::new();
        let store = crate::support::bytes_only(&clock);
        let layer = || CacheLayer::new(Cache::builder(store.clone()).clock(clock.clone()).build());
        let (app, gate) = gated(layer());
        let asked = if is_elsewhere { gated(layer()).0 } else { app.clone() };
        let posting = tokio::spawn({
            let app = app.clone();
            async move { post(&app, "/doc").await }
        });
        idle().await;
        let began = tokio::time::Instant::now();
        assert_eq!(get(&asked, "/doc").await.text(), "current");
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(
            get(&asked, "/doc").await.x_cache(),
            "HIT",
            "and is stored while it goes on"
        );
        gate.add_permits(1);
        assert_eq!(posting.await.unwrap().text(), "outdated");
        assert_eq!(get(&asked, "/doc").await.x_cache(), "MISS", "it has changed something");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_answers_until_the_post_does() {
    let (app, gate) = gated(layer());
    get(&app, "/doc").await;
    let posting = tokio::spawn({
        let app = app.clone();
        async move { post(&app, "/doc").await }
    });
    idle().await;
    assert_eq!(get(&app, "/doc").await.x_cache(), "HIT");
    gate.add_permits(1);
    assert_eq!(posting.await.unwrap().cache_status(), "cache; fwd=method; stored");
    assert_eq!(get(&app, "/doc").await.text(), "outdated");
}

/// An app whose POST is answered with a body that the test sends, and a GET with its number.
fn streaming(layer: CacheLayer, body: Body) -> Router {
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let answer = move |call, request: http::request::Parts| -> Response {
        match (request.method == Method::POST)
            .then(|| body.lock().unwrap().take())
            .flatten()
        {
            Some(body) => (ALLOWED.iter().copied().collect::<Headers>().0, body).into_response(),
            None => format!("GET {call}").into_response(),
        }
    };
    crate::support::app(layer, answer).0
}

#[tokio::test]
async fn a_get_reads_a_body_along_that_takes_its_time() {
    let (pieces, body) = crate::support::streamed();
    let app = streaming(layer(), body);
    get(&app, "/doc").await;
    pieces.send(Ok("first ".into())).unwrap();
    let mut posted = crate::support::start(&app, request(Method::POST, "/doc", &[])).await;
    assert_eq!(
        crate::support::next(posted.body_mut()).await.unwrap().unwrap(),
        "first "
    );
    let mut got = crate::support::start(&app, request(Method::GET, "/doc", &[])).await;
    assert_eq!(crate::support::next(got.body_mut()).await.unwrap().unwrap(), "first ");
    pieces.send(Ok("second".into())).unwrap();
    drop(pieces);
    assert_eq!(crate::support::reply(posted).await.text(), "second");
    assert_eq!(crate::support::reply(got).await.text(), "second");
    let hit = get(&app, "/doc").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "first second"));
}

#[tokio::test]
async fn a_body_that_breaks_is_not_stored() {
    let (pieces, body) = crate::support::streamed();
    let app = streaming(layer(), body);
    get(&app, "/doc").await;
    pieces.send(Ok("first ".into())).unwrap();
    let mut posted = crate::support::start(&app, request(Method::POST, "/doc", &[])).await;
    assert_eq!(
        crate::support::next(posted.body_mut()).await.unwrap().unwrap(),
        "first "
    );
    pieces.send(Err(std::io::Error::other("broken"))).unwrap();
    assert!(crate::support::next(posted.body_mut()).await.unwrap().is_err());
    idle().await;
    assert_eq!(get(&app, "/doc").await.text(), "GET 3");
}

#[tokio::test]
async fn what_is_invalidated_while_its_body_arrives_is_not_stored() {
    let (pieces, body) = crate::support::streamed();
    let app = streaming(layer(), body);
    pieces.send(Ok("first ".into())).unwrap();
    let posted = crate::support::start(&app, request(Method::POST, "/doc", &[])).await;
    idle().await;
    send(&app, request(Method::PUT, "/doc", &[])).await;
    assert_eq!(get(&app, "/doc").await.text(), "GET 3", "at once");
    pieces.send(Ok("second".into())).unwrap();
    drop(pieces);
    assert_eq!(crate::support::reply(posted).await.text(), "first second");
    assert_eq!(get(&app, "/doc").await.text(), "GET 3");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_arrives_is_for_its_variant_and_its_parts() {
    let (pieces, body) = crate::support::streamed();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let (app, calls) = crate::support::app(layer(), move |call, request| -> Response {
        let body = (request.method == Method::POST).then(|| body.lock().unwrap().take());
        let mut response = match body.flatten() {
            Some(body) => (ALLOWED.iter().copied().collect::<Headers>().0, body).into_response(),
            None => format!("GET {call}").into_response(),
        };
        response
            .headers_mut()
            .insert("vary", "accept-language".parse().unwrap());
        response
    });
    let (de, en) = ([("accept-language", "de")], [("accept-language", "en")]);
    pieces.send(Ok("first ".into())).unwrap();
    let posted = crate::support::start(&app, request(Method::POST, "/doc", &de)).await;
    idle().await;
    let began = tokio::time::Instant::now();
    assert_eq!(get_with(&app, "/doc", &en).await.text(), "GET 2");
    let along = crate::support::start(&app, request(Method::GET, "/doc", &de)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let part = tokio::spawn({
        let app = app.clone();
        async move { get_with(&app, "/doc", &[("accept-language", "de"), ("range", "bytes=3-8")]).await }
    });
    idle().await;
    pieces.send(Ok("second".into())).unwrap();
    drop(pieces);
    for response in [posted, along] {
        assert_eq!(crate::support::reply(response).await.text(), "first second");
    }
    let part = part.await.unwrap();
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "st sec"));
    assert_eq!(part.header("content-range"), "bytes 3-8/12");
    assert_eq!(get_with(&app, "/doc", &de).await.x_cache(), "HIT");
    assert_eq!(calls.count(), 2);
}
