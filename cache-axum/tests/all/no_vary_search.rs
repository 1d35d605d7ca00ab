//! `No-Vary-Search` in a response states which differences between queries do not matter.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Bodies, Calls, app, bytes_only, cache, get, get_with, idle, layer, next, request, send, start};
use axum::Router;
use axum::response::IntoResponse;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::{ErrorKind, ManualClock};
use cache_axum::{CacheLayer, Query};
use http::Method;

const RULES: &str = r#"key-order, params=("utm")"#;

/// An app whose answers say `rules`, and for which query they were made.
fn saying(layer: CacheLayer, rules: &'static str) -> (Router, Calls) {
    app(layer, move |_, request| {
        let mut response = request.uri.query().unwrap_or("none").to_owned().into_response();
        if !rules.is_empty() {
            response.headers_mut().insert("no-vary-search", rules.parse().unwrap());
        }
        response
    })
}

async fn ask(app: &Router, uri: &str) -> (String, String) {
    let reply = get(app, uri).await;
    (reply.x_cache().to_owned(), reply.text().to_owned())
}

fn pair(x_cache: &str, text: &str) -> (String, String) {
    (x_cache.to_owned(), text.to_owned())
}

#[tokio::test]
async fn queries_that_differ_in_nothing_that_matters_share_a_response() {
    let clock = ManualClock::new();
    let bytes = Cache::builder(crate::support::bytes_only(&clock)).clock(clock).build();
    for layer in [layer(), CacheLayer::new(bytes), layer().query(Query::exact())] {
        let (app, calls) = saying(layer.ttl(Duration::from_secs(60)).no_vary_search(true), RULES);
        assert_eq!(ask(&app, "/?a=1&b=2&utm=x").await, pair("MISS", "a=1&b=2&utm=x"));
        for same in ["/?a=1&b=2&utm=x", "/?b=2&a=1", "/?utm=y&a=1&b=2", "/?b=%32&a=1"] {
            assert_eq!(ask(&app, same).await, pair("HIT", "a=1&b=2&utm=x"), "{same}");
        }
        for (other, made_for) in [("/?a=2&b=2", "a=2&b=2"), ("/", "none"), ("/other?a=1&b=2", "a=1&b=2")] {
            assert_eq!(ask(&app, other).await, pair("MISS", made_for), "{other}");
            assert_eq!(ask(&app, other).await, pair("HIT", made_for), "{other}");
        }
        assert_eq!(ask(&app, "/?utm=only").await, pair("HIT", "none"));
        assert_eq!(calls.count(), 4);
    }
}

#[tokio::test]
async fn without_the_setting_or_the_field_every_difference_matters() {
    for (layer, rules) in [(layer(), RULES), (layer().no_vary_search(true), "")] {
        let (app, calls) = saying(layer, rules);
        for uri in ["/?a=1", "/?a=1&utm=x", "/?a=1&utm=y", "/"] {
            assert_eq!(get(&app, uri).await.x_cache(), "MISS", "{uri}");
            assert_eq!(get(&app, uri).await.x_cache(), "HIT", "{uri}");
        }
        assert_eq!(calls.count(), 4);
    }
}

#[tokio::test]
async fn responses_that_do_not_agree_are_told_apart_by_the_whole_query() {
    let (app, _) = app(layer().no_vary_search(true), |_, request| {
        let query = request.uri.query().unwrap_or_default().to_owned();
        let mut response = query.clone().into_response();
        if query.contains("a=1") {
            response.headers_mut().insert("no-vary-search", RULES.parse().unwrap());
        }
        response
    });
    for _ in 0..3 {
        // What says nothing is never the answer to another query.
        for query in ["a=1", "a=2", "a=2&utm=x", "a=2&utm=y"] {
            assert_eq!(get(&app, &format!("/?{query}")).await.text(), query);
        }
    }
    for query in ["a=1", "a=2", "a=2&utm=x"] {
        assert_eq!(ask(&app, &format!("/?{query}")).await, pair("HIT", query));
    }
}

#[tokio::test]
async fn an_invalidation_reaches_every_query_of_the_path() {
    let (app, _) = saying(layer().no_vary_search(true), RULES);
    for uri in ["/doc?a=1", "/doc?a=2", "/other?a=1"] {
        get(&app, uri).await;
    }
    send(&app, request(Method::PUT, "/doc?a=1&utm=z", &[])).await;
    for uri in ["/doc?a=1", "/doc?a=2"] {
        assert_eq!(get(&app, uri).await.x_cache(), "MISS", "{uri}");
    }
    assert_eq!(get(&app, "/other?a=1").await.x_cache(), "HIT");
}

#[tokio::test]
async fn variants_by_fields_are_told_apart_too() {
    let (app, _) = app(layer().no_vary_search(true), |call, _| {
        let fields = [("no-vary-search", RULES), ("vary", "accept-language")];
        (fields, call.to_string())
    });
    let (de, en) = ([("accept-language", "de")], [("accept-language", "en")]);
    assert_eq!(get_with(&app, "/?a=1&utm=x", &de).await.text(), "1");
    assert_eq!(get_with(&app, "/?a=1&utm=x", &en).await.text(), "2");
    assert_eq!(get_with(&app, "/?a=1", &de).await.text(), "1");
    assert_eq!(get_with(&app, "/?a=1", &en).await.text(), "2");
    assert_eq!(get_with(&app, "/?a=2", &en).await.text(), "3");
}

#[tokio::test]
async fn stale_responses_and_head_are_found_by_the_same_rules() {
    let (cache, clock) = cache();
    let minute = Duration::from_secs(60);
    let layer = CacheLayer::new(cache).ttl(minute).stale_while_revalidate(minute);
    let (app, _) = saying(layer.no_vary_search(true), RULES);
    get(&app, "/?a=1&utm=x").await;
    assert_eq!(send(&app, request(Method::HEAD, "/?a=1", &[])).await.x_cache(), "HIT");
    clock.advance(minute + Duration::from_secs(1));
    assert_eq!(ask(&app, "/?a=1&utm=y").await, pair("STALE", "a=1&utm=x"));
    crate::support::idle().await;
    assert_eq!(ask(&app, "/?a=1&utm=z").await, pair("HIT", "a=1&utm=y"));
}

/// What the answer to one query says is remembered for that query, and not for the others of the path.
#[tokio::test]
async fn a_refusal_of_one_query_is_not_held_against_the_others() {
    let (app, calls) = app(layer().no_vary_search(true), |call, request| {
        let said = match request.uri.query() {
            Some("preview") => "no-store",
            _ => "max-age=60",
        };
        ([("cache-control", said), ("no-vary-search", RULES)], call.to_string())
    });
    for _ in 0..2 {
        get(&app, "/?preview").await;
    }
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(get(&app, "/?page=1").await.x_cache(), x_cache);
    }
    assert_eq!(calls.count(), 3);
}

/// Starts the load of one query, and asks for an equivalent one and for another one while its body arrives.
async fn each_reads_its_own(app: &Router, calls: &Calls, bodies: &Bodies) {
    let (one, two) = (bodies.push(), bodies.push());
    one.send(Ok("one".into())).unwrap();
    two.send(Ok("two".into())).unwrap();
    let before = calls.count();
    let ask = |uri| start(app, request(Method::GET, uri, &[]));
    let first = ask("/?page=1").await;
    idle().await;
    let same = ask("/?utm=x&page=1").await;
    let other = ask("/?page=2").await;
    for (response, piece) in [(first, "one"), (same, "one"), (other, "two")] {
        assert_eq!(next(&mut response.into_body()).await.unwrap().unwrap(), piece);
    }
    assert_eq!(calls.count(), before + 2, "equivalent queries share a call");
}

#[tokio::test]
async fn a_body_that_arrives_is_read_by_equivalent_queries_only() {
    let bodies = Bodies::default();
    let rules = [("no-vary-search", RULES)];
    // In an outage nothing is stored that would lead to the one or the other.
    let clock = ManualClock::new();
    let store = bytes_only(&clock);
    store.fail(ErrorKind::Unavailable);
    let layer = CacheLayer::new(Cache::builder(store).clock(clock).build());
    let source = bodies.clone();
    let (app, calls) = app(layer.no_vary_search(true), move |_, _| (rules, source.take()));
    each_reads_its_own(&app, &calls, &bodies).await;
    // After a soft invalidation, what led to them stays until one is complete.
    let layer = crate::support::layer().stale_if_error(Duration::from_secs(600));
    let layer = layer.invalidate_softly(true).no_vary_search(true);
    let source = bodies.clone();
    let (app, calls) = crate::support::app(layer, move |_, _| (rules, source.take()));
    for uri in ["/?page=1", "/?page=2"] {
        get(&app, uri).await;
        assert_eq!(get(&app, uri).await.x_cache(), "HIT");
    }
    send(&app, request(Method::PUT, "/", &[])).await;
    each_reads_its_own(&app, &calls, &bodies).await;
}

#[tokio::test]
async fn a_failure_is_shared_by_equivalent_queries_only() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (calls, opens) = (Calls::default(), gate.clone());
    let counter = calls.clone();
    let handler = move |uri: http::Uri| {
        counter.add();
        let opens = opens.clone();
        async move {
            opens.acquire().await.unwrap().forget();
            let status = http::StatusCode::INTERNAL_SERVER_ERROR;
            (status, uri.query().unwrap_or_default().to_owned())
        }
    };
    let app = Router::new().fallback(handler).layer(layer().no_vary_search(true));
    let asking: Vec<_> = (0..40)
        .map(|number| {
            let (app, uri) = (app.clone(), format!("/?page={}", number % 2));
            tokio::spawn(async move { (get(&app, &uri).await, uri) })
        })
        .collect();
    idle().await;
    gate.add_permits(40);
    for asking in asking {
        let (reply, uri) = asking.await.unwrap();
        assert_eq!(format!("/?{}", reply.text()), uri);
    }
    assert_eq!(calls.count(), 2, "one for each query");
}
