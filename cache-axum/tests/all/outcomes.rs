//! Each request is reported once, on every route, and `Cache::stats` counts the same. docs/observability.md has the
//! expectations as a table.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Bodies, Faulty, Reply, app, bytes_only, idle, reply, request, send, start};
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cache_axum::cache_engine::cache_core::{ErrorKind, ManualClock};
use cache_axum::cache_engine::{Cache, Event, NamespaceStats};
use cache_axum::{CacheLayer, StoreFor};
use cache_memory::MemoryBackend;
use http::{Method, Request, StatusCode};

const MINUTE: Duration = Duration::from_secs(60);

/// The events that say how a request was handled. Each request has exactly one.
const OUTCOMES: [&str; 6] = ["hit", "stale", "negative_hit", "miss", "outage", "bypassed"];

/// The number of events by name, with the reason or the tier where there is one.
type Counts = BTreeMap<String, u64>;

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Counts>>);

impl Seen {
    fn note(&self, event: &Event<'_>) {
        let name = event.name();
        let name = match event {
            Event::Hit { tier, .. } => format!("{name} {}", tier.as_str()),
            Event::Bypassed { reason, .. } | Event::Refused { reason, .. } => format!("{name} {reason}"),
            Event::LoadFailed { failure, .. } => format!("{name} {}", failure.as_str()),
            // Of the store, and not of requests.
            Event::StoreCalled { .. } | Event::StoreFailed { .. } | Event::Evicted { .. } => return,
            _ => name.to_owned(),
        };
        *self.0.lock().unwrap().entry(name).or_default() += 1;
    }

    fn take(&self) -> Counts {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// An app behind a layer, and what its cache reports.
struct Test {
    app: Router,
    cache: Cache,
    clock: ManualClock,
    store: Option<Faulty>,
    bodies: Bodies,
    seen: Seen,
    before: NamespaceStats,
}

impl Test {
    fn new(is_local: bool, change: impl FnOnce(CacheLayer) -> CacheLayer) -> Self {
        let (clock, seen) = (ManualClock::new(), Seen::default());
        let store = (!is_local).then(|| bytes_only(&clock));
        let builder = match &store {
            Some(store) => Cache::builder(store.clone()).breaker(0, MINUTE),
            None => Cache::builder(MemoryBackend::builder().clock(clock.clone()).build()),
        };
        let observer = seen.clone();
        let cache = builder
            .clock(clock.clone())
            .observer(move |event: &Event<'_>| observer.note(event))
            .build();
        let layer = change(CacheLayer::new(cache.clone()).ttl(MINUTE));
        let bodies = Bodies::default();
        let source = bodies.clone();
        let (app, _) = app(layer, move |call, parts| answer(call, &parts, &source));
        Self {
            app,
            cache,
            clock,
            store,
            bodies,
            seen,
            before: NamespaceStats::default(),
        }
    }

    async fn ask(&mut self, method: Method, uri: &str, headers: &[(&str, &str)], expected: &[(&str, u64)]) -> Reply {
        let reply = send(&self.app, request(method, uri, headers)).await;
        self.expect(uri, 1, expected).await;
        reply
    }

    async fn get(&mut self, uri: &str, headers: &[(&str, &str)], expected: &[(&str, u64)]) -> Reply {
        self.ask(Method::GET, uri, headers, expected).await
    }

    /// Compares what was reported since the last call, and counted, with what `requests` requests should.
    async fn expect(&mut self, what: &str, requests: u64, expected: &[(&str, u64)]) {
        idle().await;
        let seen = self.seen.take();
        let wanted: Counts = expected
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        assert_eq!(seen, wanted, "{what}");
        let outcomes = |counts: &Counts| -> u64 {
            let is_outcome = |name: &&str| OUTCOMES.contains(&name.split(' ').next().unwrap());
            counts
                .iter()
                .filter(|(name, _)| is_outcome(&name.as_str()))
                .map(|(_, count)| count)
                .sum()
        };
        assert_eq!(outcomes(&seen), requests, "{what}: one outcome for each request");

        let now = self.cache.stats().total();
        let counted = difference(&now, &self.before);
        assert_eq!(now.requests() - self.before.requests(), requests, "{what}");
        self.before = now;
        let mut seen = seen;
        seen.remove("tag_invalidated");
        assert_eq!(counted, seen, "{what}: the counters say the same");
    }
}

/// What was counted since `before`, in the words of the events.
fn difference(now: &NamespaceStats, before: &NamespaceStats) -> Counts {
    let counts = |stats: &NamespaceStats| {
        let mut counts = Counts::new();
        let loaded = stats.loads.count() - stats.load_failures;
        for (name, count) in [
            ("hit near", stats.hits.near),
            ("hit store", stats.hits.store),
            ("stale", stats.stale),
            ("negative_hit", stats.negative_hits),
            ("miss", stats.misses),
            ("outage", stats.outages),
            ("coalesced", stats.coalesced),
            ("stale_if_error", stats.stale_if_error),
            ("load_started", stats.loads_started),
            ("loaded", loaded),
            ("load_failed error", stats.load_failures),
            ("stored", stats.stored),
            ("fenced", stats.fenced),
            ("revalidated", stats.revalidated),
            ("not_modified", stats.not_modified),
            ("invalidated", stats.invalidations),
        ] {
            counts.insert(name.to_owned(), count);
        }
        for (reason, count) in &stats.bypasses {
            counts.insert(format!("bypassed {reason}"), *count);
        }
        for (reason, count) in &stats.refused {
            counts.insert(format!("refused {reason}"), *count);
        }
        counts
    };
    let before = counts(before);
    let changed = |(name, count): (String, u64)| {
        let since = count - before.get(&name).copied().unwrap_or_default();
        (since > 0).then_some((name, since))
    };
    counts(now).into_iter().filter_map(changed).collect()
}

fn answer(call: usize, parts: &http::request::Parts, bodies: &Bodies) -> Response {
    let vary = [("vary", "accept-language")];
    match parts.uri.path() {
        "/vary" => (vary, format!("{call}")).into_response(),
        "/slow" => bodies.take().into_response(),
        "/slow-vary" => (vary, bodies.take()).into_response(),
        "/private" => ([("cache-control", "private")], "mine").into_response(),
        "/missing" => (StatusCode::NOT_FOUND, "none").into_response(),
        "/etag" if parts.headers.get("if-none-match").is_some_and(|tag| tag == "\"1\"") => {
            StatusCode::NOT_MODIFIED.into_response()
        }
        "/etag" => ([("etag", "\"1\"")], "tagged").into_response(),
        "/fails" if call > 1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        "/panics" => panic!("as planned"),
        "/other-namespace" => (StoreFor::default().namespace("tenant"), "in it").into_response(),
        _ => format!("{call}").into_response(),
    }
}

const LOADED: [(&str, u64); 4] = [("miss", 1), ("load_started", 1), ("loaded", 1), ("stored", 1)];

fn with<'a>(counts: &[(&'a str, u64)], more: &[(&'a str, u64)]) -> Vec<(&'a str, u64)> {
    [counts, more].concat()
}

fn both() -> impl Iterator<Item = bool> {
    [true, false].into_iter()
}

const HIT: [(&str, u64); 1] = [("hit store", 1)];

#[tokio::test]
async fn misses_and_hits() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer);
        test.get("/", &[], &LOADED).await;
        test.get("/", &[], &HIT).await;
        test.get("/missing", &[], &with(&LOADED[..3], &[("refused status", 1)]))
            .await;
        let range = [("range", "bytes=0-0")];
        assert_eq!(test.get("/", &range, &HIT).await.status, StatusCode::PARTIAL_CONTENT);
        test.get("/ranged", &range, &LOADED).await;
        test.ask(Method::HEAD, "/", &[], &HIT).await;
        test.ask(Method::HEAD, "/headed", &[], &[("miss", 1), ("refused head", 1)])
            .await;
    }
}

#[tokio::test]
async fn variants() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer);
        for language in ["de", "en", "fr"] {
            let asked = [("accept-language", language)];
            test.get("/vary", &asked, &LOADED).await;
            test.get("/vary", &asked, &HIT).await;
            test.ask(Method::HEAD, "/vary", &asked, &HIT).await;
        }
        // Whose body takes its time.
        for language in ["de", "en"] {
            let asked = [("accept-language", language)];
            let pieces = test.bodies.push();
            let reading = tokio::spawn(reply(
                start(&test.app, request(Method::GET, "/slow-vary", &asked)).await,
            ));
            idle().await;
            pieces.send(Ok(Bytes::from_static(b"slow"))).unwrap();
            idle().await;
            drop(pieces);
            reading.await.unwrap();
            test.expect("/slow-vary", 1, &LOADED).await;
            test.get("/slow-vary", &asked, &HIT).await;
        }
    }
}

#[tokio::test]
async fn a_variant_that_varies_by_more_than_was_known() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer);
        let learned = with(&LOADED[..3], &[("refused namespace-learned", 1)]);
        test.get("/other-namespace", &[], &learned).await;
        let tenants = LOADED;
        test.get("/other-namespace", &[], &tenants).await;
        test.get("/other-namespace", &[], &HIT).await;
    }
}

#[tokio::test]
async fn coalesced() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer);
        let pieces = test.bodies.push();
        let ask = || {
            let (app, request) = (test.app.clone(), request(Method::GET, "/slow", &[]));
            tokio::spawn(async move { send(&app, request).await })
        };
        let first = ask();
        idle().await;
        let others: Vec<_> = (0..4).map(|_| ask()).collect();
        idle().await;
        pieces.send(Ok(Bytes::from_static(b"slow"))).unwrap();
        drop(pieces);
        for asking in others.into_iter().chain([first]) {
            assert_eq!(asking.await.unwrap().text(), "slow");
        }
        let expected = [
            ("miss", 5),
            ("coalesced", 4),
            ("load_started", 1),
            ("loaded", 1),
            ("stored", 1),
        ];
        test.expect("/slow", 5, &expected).await;
    }
}

#[tokio::test]
async fn coalesced_before_the_handler_answers() {
    let test = Test::new(true, |layer| layer);
    let gated = crate::support::gated(CacheLayer::new(test.cache.clone()), |_| "one".into_response());
    let mut test = test;
    let mut asking = gated.ask(5);
    idle().await;
    gated.gate.add_permits(1);
    while let Some(reply) = asking.join_next().await {
        assert_eq!(reply.unwrap().text(), "one");
    }
    let expected = [
        ("miss", 5),
        ("coalesced", 4),
        ("load_started", 1),
        ("loaded", 1),
        ("stored", 1),
    ];
    test.expect("/", 5, &expected).await;
}

#[tokio::test]
async fn stale() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer.stale_while_revalidate(MINUTE));
        for (path, headers) in [("/", &[][..]), ("/vary", &[("accept-language", "de")][..])] {
            test.get(path, headers, &LOADED).await;
            test.clock.advance(MINUTE + Duration::from_secs(1));
            let refreshed = [("stale", 1), ("load_started", 1), ("loaded", 1), ("stored", 1)];
            assert_eq!(test.get(path, headers, &refreshed).await.x_cache(), "STALE");
            test.get(path, headers, &HIT).await;
        }
    }
}

#[tokio::test]
async fn a_handler_that_fails() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer.stale_if_error(MINUTE * 10));
        test.get("/fails", &[], &LOADED).await;
        test.clock.advance(MINUTE * 2);
        let failed = [
            ("miss", 1),
            ("load_started", 1),
            ("load_failed error", 1),
            ("stale_if_error", 1),
        ];
        assert_eq!(test.get("/fails", &[], &failed).await.x_cache(), "STALE");
        test.clock.advance(MINUTE * 20);
        let shared = [("miss", 1), ("load_started", 1), ("loaded", 1), ("refused status", 1)];
        test.get("/fails", &[], &shared).await;

        let (app, request) = (test.app.clone(), request(Method::GET, "/panics", &[]));
        assert!(tokio::spawn(async move { send(&app, request).await }).await.is_err());
        test.expect(
            "/panics",
            1,
            &[("miss", 1), ("load_started", 1), ("load_failed error", 1)],
        )
        .await;
    }
}

#[tokio::test]
async fn refusals() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer.max_body(10));
        test.get("/private", &[], &with(&LOADED[..3], &[("refused private", 1)]))
            .await;
        // No other request waits for the next ones, so they are not loads.
        test.get("/private", &[], &[("miss", 1), ("refused private", 1)]).await;
        let credentials = [("authorization", "Basic 42")];
        test.get("/with", &credentials, &[("bypassed authorization", 1)]).await;
        let pieces = test.bodies.push();
        pieces.send(Ok(Bytes::from_static(b"more than ten bytes"))).unwrap();
        drop(pieces);
        test.get("/slow", &[], &with(&LOADED[..3], &[("refused too-large", 1)]))
            .await;
    }
}

#[tokio::test]
async fn bypasses() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer.invalidate_on_write(true));
        test.get("/", &[], &LOADED).await;
        for method in [Method::OPTIONS, Method::TRACE] {
            test.ask(method, "/", &[], &[("bypassed method", 1)]).await;
        }
        let mut posted = request(Method::GET, "/", &[("content-length", "4")]);
        *posted.body_mut() = Body::from("body");
        send(&test.app, posted).await;
        test.expect("with content", 1, &[("bypassed content", 1)]).await;
        test.get("/", &[("if-match", "\"1\"")], &[("bypassed precondition", 1)])
            .await;
        test.cache.set_enabled(false);
        test.get("/", &[], &[("bypassed disabled", 1)]).await;
        test.cache.set_enabled(true);
        test.get("/", &[], &HIT).await;
    }
}

#[tokio::test]
async fn unsafe_methods() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer.invalidate_on_write(true));
        test.get("/", &[], &LOADED).await;
        send(&test.app, request(Method::POST, "/", &[])).await;
        idle().await;
        let seen = test.seen.take();
        assert_eq!(seen.get("bypassed method"), Some(&1), "{seen:?}");
        assert!(seen.contains_key("invalidated"), "{seen:?}");
        assert!(
            seen.keys()
                .all(|name| name == "bypassed method" || name == "invalidated"),
            "{seen:?}"
        );
        test.before = test.cache.stats().total();
        test.get("/", &[], &LOADED).await;
    }
}

#[tokio::test]
async fn not_modified_and_revalidated() {
    for is_local in both() {
        let mut test = Test::new(is_local, |layer| layer.stale_if_error(MINUTE * 10));
        let asked = [("if-none-match", "\"1\"")];
        assert_eq!(
            test.get("/etag", &asked, &with(&LOADED, &[("not_modified", 1)]))
                .await
                .status,
            StatusCode::NOT_MODIFIED
        );
        test.get("/etag", &asked, &with(&HIT, &[("not_modified", 1)])).await;
        test.get("/etag", &[], &HIT).await;
        test.clock.advance(MINUTE * 2);
        test.get("/etag", &[], &with(&LOADED, &[("revalidated", 1)])).await;
        test.get("/etag", &[], &HIT).await;
    }
}

#[tokio::test]
async fn outages() {
    let mut test = Test::new(false, |layer| layer);
    test.get("/", &[], &LOADED).await;
    test.store.as_ref().unwrap().fail(ErrorKind::Unavailable);
    let outage = [("outage", 1), ("load_started", 1), ("loaded", 1), ("refused outage", 1)];
    test.get("/", &[], &outage).await;
    test.ask(Method::HEAD, "/", &[], &[("outage", 1), ("refused head", 1)])
        .await;
    test.store.as_ref().unwrap().recover();
    test.get("/", &[], &HIT).await;
}

#[tokio::test]
async fn one_request_within_another_is_one() {
    let mut test = Test::new(true, |layer| layer);
    let inner = test.app.clone();
    let handler = move |request: Request<Body>| {
        let inner = inner.clone();
        async move { start(&inner, request).await }
    };
    test.app = Router::new()
        .fallback(handler)
        .layer(CacheLayer::new(test.cache.clone()));
    test.get("/", &[], &LOADED).await;
    test.get("/", &[], &HIT).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_too() {
    let test = Test::new(true, |layer| layer);
    let layer = CacheLayer::new(test.cache.clone()).max_detached(0);
    let gated = crate::support::gated(layer, |_| "one".into_response());
    let mut test = test;
    let asking = gated.ask(1);
    idle().await;
    drop(asking);
    idle().await;
    let seen = test.seen.take();
    let expected = [("miss", 1), ("load_started", 1), ("load_failed cancelled", 1)];
    let expected: Counts = expected
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect();
    assert_eq!(seen, expected);
    test.before = test.cache.stats().total();
    assert_eq!((test.before.requests(), test.before.load_failures), (1, 1));
}
