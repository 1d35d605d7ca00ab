//! Requests for variants of a URL whose `Vary` is not known yet share their loads too: the number of calls depends on
//! the number of variants, and not on the number of clients.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Bodies, Calls, cache, get_with, idle, layer, next, request, send, start};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::{ErrorKind, ManualClock};
use cache_axum::{CacheLayer, StoreFor};
use futures_util::future::join_all;
use http::{HeaderMap, Method};

const CLIENTS: usize = 100;

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// A body that is complete at once, or whose pieces take their time.
fn body(text: String, is_slow: bool) -> Body {
    if !is_slow {
        return Body::from(text.repeat(5));
    }
    let pieces = futures_util::stream::unfold(0, move |piece| {
        let text = text.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            (piece < 5).then_some((Ok::<_, std::io::Error>(text), piece + 1))
        }
    });
    Body::from_stream(pieces)
}

/// An app that takes 20 ms for an answer, which names what it is for.
fn app(
    layer: CacheLayer,
    is_slow: bool,
    vary: impl Fn(&HeaderMap) -> &'static str + Clone + Send + Sync + 'static,
) -> (Router, Calls) {
    let calls = Calls::default();
    let counter = calls.clone();
    let handler = move |request: Request| {
        counter.add();
        let vary = vary(request.headers());
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let text: Vec<&str> = vary.split(", ").map(|name| value(request.headers(), name)).collect();
            ([("vary", vary)], body(text.join("/"), is_slow)).into_response()
        }
    };
    (Router::new().fallback(handler).layer(layer), calls)
}

fn layers() -> [CacheLayer; 2] {
    let clock = ManualClock::new();
    let bytes = Cache::builder(crate::support::bytes_only(&clock)).clock(clock).build();
    [layer(), CacheLayer::new(bytes)]
}

#[tokio::test(start_paused = true)]
async fn each_variant_is_loaded_once() {
    for is_slow in [false, true] {
        for layer in layers() {
            let (app, calls) = app(layer, is_slow, |_| "accept-language");
            let asking = (0..CLIENTS).map(|client| {
                let app = app.clone();
                async move {
                    let language = ["de", "en", "fr"][client % 3];
                    let reply = get_with(&app, "/", &[("accept-language", language)]).await;
                    assert_eq!(reply.text(), language.repeat(5));
                }
            });
            join_all(asking).await;
            assert_eq!(calls.count(), 3, "slow: {is_slow}");
            assert_eq!(get_with(&app, "/", &[("accept-language", "en")]).await.x_cache(), "HIT");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_further_field_costs_one_call_more() {
    for is_slow in [false, true] {
        for layer in layers() {
            // Only an answer to German shows that the theme matters too.
            let (app, calls) = app(layer, is_slow, |headers| match value(headers, "accept-language") {
                "de" => "accept-language, x-theme",
                _ => "accept-language",
            });
            get_with(&app, "/", &[("accept-language", "en")]).await;
            let asking = (0..CLIENTS).map(|client| {
                let app = app.clone();
                async move {
                    let theme = ["dark", "light"][client % 2];
                    let fields = [("accept-language", "de"), ("x-theme", theme)];
                    let reply = get_with(&app, "/", &fields).await;
                    assert_eq!(reply.text(), format!("de/{theme}").repeat(5));
                }
            });
            join_all(asking).await;
            assert_eq!(calls.count(), 1 + 1 + 2, "slow: {is_slow}");
        }
    }
}

/// An app whose German answers have bodies that the test sends.
fn streaming(layer: CacheLayer, bodies: &Bodies, store_for: Option<StoreFor>) -> (Router, Calls) {
    let (calls, bodies) = (Calls::default(), bodies.clone());
    let counter = calls.clone();
    let handler = move |request: Request| {
        let call = counter.add();
        let mut response: Response = match value(request.headers(), "accept-language") {
            "de" => bodies.take().into_response(),
            other => format!("{other} {call}").into_response(),
        };
        response
            .headers_mut()
            .insert("vary", "accept-language".parse().unwrap());
        let store_for = store_for.clone();
        async move {
            match store_for {
                Some(store_for) => (store_for, response).into_response(),
                None => response,
            }
        }
    };
    (Router::new().fallback(handler).layer(layer), calls)
}

const DE: &[(&str, &str)] = &[("accept-language", "de")];
const EN: &[(&str, &str)] = &[("accept-language", "en")];

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_body_of_another_variant() {
    for layer in layers() {
        let bodies = Bodies::default();
        let (app, calls) = streaming(layer, &bodies, None);
        let pieces = bodies.push();
        pieces.send(Ok("eins ".into())).unwrap();
        let mut german = start(&app, request(Method::GET, "/", DE)).await;
        assert_eq!(next(german.body_mut()).await.unwrap().unwrap(), "eins ");
        idle().await;
        let began = tokio::time::Instant::now();
        for call in ["MISS", "HIT"] {
            let english = get_with(&app, "/", EN).await;
            assert_eq!((english.text(), english.x_cache()), ("en 2", call));
        }
        // And this variant is read along.
        let mut along = start(&app, request(Method::GET, "/", DE)).await;
        assert_eq!(next(along.body_mut()).await.unwrap().unwrap(), "eins ");
        assert_eq!(began.elapsed(), Duration::ZERO);
        pieces.send(Ok("zwei".into())).unwrap();
        drop(pieces);
        assert_eq!(crate::support::reply(german).await.text(), "zwei");
        assert_eq!(crate::support::reply(along).await.text(), "zwei");
        idle().await;
        let hit = get_with(&app, "/", DE).await;
        assert_eq!((hit.text(), hit.x_cache()), ("eins zwei", "HIT"));
        assert_eq!(calls.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_variant_that_breaks_harms_no_other() {
    let bodies = Bodies::default();
    let (app, calls) = streaming(layer(), &bodies, None);
    let pieces = bodies.push();
    pieces.send(Ok("eins ".into())).unwrap();
    let mut german = start(&app, request(Method::GET, "/", DE)).await;
    idle().await;
    get_with(&app, "/", EN).await;
    pieces.send(Err(std::io::Error::other("broken"))).unwrap();
    assert!(next(german.body_mut()).await.unwrap().is_ok());
    assert!(next(german.body_mut()).await.unwrap().is_err());
    idle().await;
    assert_eq!(get_with(&app, "/", EN).await.x_cache(), "HIT");
    let pieces = bodies.push();
    pieces.send(Ok("drei".into())).unwrap();
    drop(pieces);
    assert_eq!(get_with(&app, "/", DE).await.text(), "drei");
    assert_eq!(get_with(&app, "/", DE).await.x_cache(), "HIT");
    assert_eq!(calls.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_while_its_body_arrives_does_not_come_back() {
    for change in ["none", "put", "tag", "late tag"] {
        let (cache, _) = cache();
        let layer = CacheLayer::new(cache.clone())
            .ttl(Duration::from_secs(60))
            .tags(["docs"])
            .late_tags(true);
        let bodies = Bodies::default();
        let (app, calls) = streaming(layer, &bodies, Some(StoreFor::as_usual().tags(["late"])));
        let pieces = bodies.push();
        pieces.send(Ok("old ".into())).unwrap();
        let german = start(&app, request(Method::GET, "/", DE)).await;
        idle().await;
        match change {
            "put" => drop(send(&app, request(Method::PUT, "/", EN)).await),
            "tag" => cache.invalidate_tag("docs").await.unwrap(),
            "late tag" => cache.invalidate_tag("late").await.unwrap(),
            _ => {}
        }
        let called = calls.count();
        let newer = bodies.push();
        newer.send(Ok("new".into())).unwrap();
        drop(newer);
        if change != "none" {
            let began = tokio::time::Instant::now();
            assert_eq!(get_with(&app, "/", DE).await.text(), "new", "{change}");
            assert_eq!(began.elapsed(), Duration::ZERO, "{change}");
            assert_eq!(calls.count(), called + 1, "{change}");
        }
        pieces.send(Ok("text".into())).unwrap();
        drop(pieces);
        assert_eq!(crate::support::reply(german).await.text(), "old text");
        idle().await;
        let expected = if change == "none" { "old text" } else { "new" };
        assert_eq!(get_with(&app, "/", DE).await.text(), expected, "{change}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_body_that_is_not_stored_since_its_namespace_was_not_known() {
    let bodies = Bodies::default();
    let source = bodies.clone();
    let (app, calls) = crate::support::app(layer(), move |_, _| {
        (StoreFor::as_usual().namespace("other"), source.take())
    });
    let (one, two) = (bodies.push(), bodies.push());
    one.send(Ok("one".into())).unwrap();
    two.send(Ok("two".into())).unwrap();
    let first = start(&app, request(Method::GET, "/", &[])).await;
    idle().await;
    let began = tokio::time::Instant::now();
    let mut later = Vec::new();
    for _ in 0..2 {
        let mut response = start(&app, request(Method::GET, "/", &[])).await;
        assert_eq!(next(response.body_mut()).await.unwrap().unwrap(), "two");
        later.push(response);
        idle().await;
    }
    // Only what `idle` takes.
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    drop((one, two));
    assert_eq!(crate::support::reply(first).await.text(), "one");
    idle().await;
    assert_eq!(crate::support::get(&app, "/").await.text(), "two");
    assert_eq!(calls.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn stale_variants_are_there_until_a_new_one_is_complete() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache)
        .ttl(Duration::from_secs(10))
        .stale_if_error(Duration::from_secs(600))
        .invalidate_softly(true);
    let bodies = Bodies::default();
    let source = bodies.clone();
    let (app, _) = crate::support::app(layer, move |call, request| -> Response {
        let language = value(&request.headers, "accept-language").to_owned();
        let mut response = match call {
            _ if request.method == Method::PUT => "done".into_response(),
            ..=2 => language.into_response(),
            4 => source.take().into_response(),
            _ => http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        };
        response
            .headers_mut()
            .insert("vary", "accept-language".parse().unwrap());
        response
    });
    for language in [DE, EN] {
        get_with(&app, "/", language).await;
    }
    clock.advance(Duration::from_secs(1));
    send(&app, request(Method::PUT, "/", &[])).await;
    let pieces = bodies.push();
    pieces.send(Ok("new".into())).unwrap();
    let mut german = start(&app, request(Method::GET, "/", DE)).await;
    assert_eq!(next(german.body_mut()).await.unwrap().unwrap(), "new");
    idle().await;
    pieces.send(Err(std::io::Error::other("broken"))).unwrap();
    assert!(next(german.body_mut()).await.unwrap().is_err());
    idle().await;
    for (language, text) in [(DE, "de"), (EN, "en")] {
        let stale = get_with(&app, "/", language).await;
        assert_eq!((stale.text(), stale.x_cache()), (text, "STALE"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_takes_no_body_with_it() {
    for vary in ["accept-language", ""] {
        let clock = ManualClock::new();
        let store = crate::support::bytes_only(&clock);
        let layer = CacheLayer::new(Cache::builder(store.clone()).clock(clock).build());
        let bodies = Bodies::default();
        let source = bodies.clone();
        let (app, _) = crate::support::app(layer, move |_, _| {
            store.fail(ErrorKind::Unavailable);
            let mut response = source.take().into_response();
            response.headers_mut().insert("vary", vary.parse().unwrap());
            response
        });
        let pieces = bodies.push();
        pieces.send(Ok("one ".into())).unwrap();
        let mut response = start(&app, request(Method::GET, "/", DE)).await;
        assert_eq!(next(response.body_mut()).await.unwrap().unwrap(), "one ");
        pieces.send(Ok("two".into())).unwrap();
        drop(pieces);
        assert_eq!(crate::support::reply(response).await.text(), "two");
    }
}

/// What the head of a slow body says holds: whether the body will be stored, and for how long clients may keep it.
#[tokio::test]
async fn a_slow_body_that_will_not_be_stored_says_so_at_once() {
    for (layer, namespace, fields, detail) in [
        (layer(), Some("other"), "", "namespace-learned"),
        (layer().max_variants(0), None, "accept-language", "too-many-variants"),
        (layer(), None, "accept-language, accept", "vary-changed"),
        // The controls.
        (layer(), None, "accept-language", ""),
        (layer(), None, "", ""),
    ] {
        let bodies = Bodies::default();
        let source = bodies.clone();
        let (app, _) = crate::support::app(layer, move |call, _| {
            // The first one shows by which fields they vary.
            let (fields, body) = match (call, detail) {
                (1, "vary-changed") => ("accept-language", "…".into()),
                _ => (fields, source.take()),
            };
            let mut response = ([("vary", fields)], body).into_response();
            if let Some(namespace) = namespace {
                response = (StoreFor::as_usual().namespace(namespace), response).into_response();
            }
            response
        });
        if detail == "vary-changed" {
            get_with(&app, "/", EN).await;
        }
        let pieces = bodies.push();
        let response = start(&app, request(Method::GET, "/", DE)).await;
        let status = response.headers()["cache-status"].to_str().unwrap().to_owned();
        let is_stored = detail.is_empty();
        let expected = if is_stored {
            "; stored".to_owned()
        } else {
            format!("; detail={detail}")
        };
        assert!(status.ends_with(&expected), "{status}, not {expected}");
        assert_eq!(response.headers().contains_key("cache-control"), is_stored, "{detail}");
        drop(pieces);
        crate::support::reply(response).await;
        idle().await;
        let x_cache = if is_stored { "HIT" } else { "MISS" };
        assert_eq!(get_with(&app, "/", DE).await.x_cache(), x_cache, "{detail}");
    }
}
