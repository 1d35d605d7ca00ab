//! The traces of requests, collected by OpenTelemetry's SDK: the span of a request ends with its answer, whatever the layer
//! still does in the background.
//!
//! A file of its own, since `tracing` remembers what the first subscriber wanted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_core::ManualClock;
use cache_core::testing::Gate;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use opentelemetry::trace::{SpanId, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use support::{Bodies, bytes_only, cache, get, idle, layer, reply, request, send, start};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tower_http::timeout::TimeoutLayer;
use tracing::field::Empty;
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Instrument, Span, info_span};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

const SEC: Duration = Duration::from_secs(1);

/// Has `tracing` ask all subscribers which spans they want. While there is one at most, it asks that of the thread which
/// first comes to a span, and remembers the answer for all threads: "none", if a test without a subscriber was first.
fn ask_all_subscribers() {
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));
}

/// OpenTelemetry's SDK with a collector in this process, for the spans of this thread.
struct Traces {
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
    _subscriber: DefaultGuard,
}

impl Traces {
    fn new() -> Self {
        Self::of("debug")
    }

    fn of(directives: &str) -> Self {
        ask_all_subscribers();
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let targets: Targets = directives.parse().unwrap();
        // Other crates trace as well.
        let targets = targets
            .with_target("hyper", LevelFilter::OFF)
            .with_target("tower_http", LevelFilter::OFF);
        // Not a filter of the layer alone, with which a span that it does not want may be enabled all the same.
        let subscriber = tracing_subscriber::registry().with(targets).with(layer);
        Self {
            exporter,
            _provider: provider,
            _subscriber: tracing::subscriber::set_default(subscriber),
        }
    }

    /// The spans of this name that have ended so far.
    fn all(&self, name: &str) -> Vec<SpanData> {
        let mut spans = self.exporter.get_finished_spans().unwrap();
        spans.retain(|span| span.name == name);
        spans
    }

    /// The only span of this name that has ended so far.
    #[track_caller]
    fn one(&self, name: &str) -> SpanData {
        let mut spans = self.all(name);
        assert_eq!(spans.len(), 1, "{name}: {:?}", self.exporter);
        spans.remove(0)
    }

    fn reset(&self) {
        self.exporter.reset();
    }
}

fn is_child(child: &SpanData, parent: &SpanData) -> bool {
    child.parent_span_id == parent.span_context.span_id()
}

fn is_root_linked_to(span: &SpanData, other: &SpanData) -> bool {
    let links = span.links.iter().any(|link| link.span_context == other.span_context);
    links && span.parent_span_id == SpanId::INVALID && span.span_context.trace_id() != other.span_context.trace_id()
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

fn span() -> Span {
    info_span!("request", cache.request.type = Empty, cache.status = Empty)
}

/// An app whose handler waits at a gate in a span of its own.
fn app(layer: CacheLayer, gate: &Gate) -> Router {
    let gate = gate.clone();
    let handler = move || {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            "page"
        }
        .instrument(info_span!("handler"))
    };
    Router::new().fallback(handler).layer(layer.trace_outcome(true))
}

fn swr(cache: Cache) -> CacheLayer {
    CacheLayer::new(cache).ttl(10 * SEC).stale_while_revalidate(600 * SEC)
}

#[tokio::test(start_paused = true)]
async fn a_miss_has_a_load_with_the_handler_in_it_and_a_hit_has_nothing() {
    let traces = Traces::new();
    let (cache, clock) = cache();
    let stores = [cache, Cache::builder(bytes_only(&clock)).clock(clock.clone()).build()];
    for cache in stores {
        let is_local = cache.adapter().local_tier() == cache_axum::cache_engine::CacheTier::Store;
        let gate = Gate::closed();
        gate.open();
        let app = app(swr(cache), &gate);
        assert_eq!(get(&app, "/").instrument(span()).await.x_cache(), "MISS");
        idle().await;
        let (request, load) = (traces.one("request"), traces.one("cache.load"));
        assert!(is_child(&load, &request));
        assert!(is_child(&traces.one("handler"), &load));
        assert_eq!(attribute(&load, "cache.load.outcome").as_deref(), Some("ok"));
        assert_eq!(attribute(&request, "cache.request.type").as_deref(), Some("miss"));
        assert_eq!(traces.all("set").is_empty(), is_local);
        traces.reset();
        assert_eq!(get(&app, "/").instrument(span()).await.x_cache(), "HIT");
        let request = traces.one("request");
        assert_eq!(attribute(&request, "cache.request.type").as_deref(), Some("hit"));
        assert!(traces.all("cache.load").is_empty() && traces.all("handler").is_empty());
        assert!(traces.all("get").iter().all(|read| is_child(read, &request)));
        traces.reset();
    }
}

/// Lets one request at a time through.
async fn one_at_a_time(permits: Arc<Semaphore>, request: Request, next: Next) -> Response {
    let _permit = permits.acquire().await.unwrap();
    next.run(request).await
}

#[tokio::test(start_paused = true)]
async fn a_refresh_holds_neither_the_span_nor_the_permit_nor_the_time_limit_of_its_request() {
    let traces = Traces::new();
    let (memory, clock) = cache();
    let stores = [memory, Cache::builder(bytes_only(&clock)).clock(clock.clone()).build()];
    for cache in stores {
        let gate = Gate::closed();
        gate.admit(1);
        let permits = Arc::new(Semaphore::new(1));
        let limited = Arc::clone(&permits);
        let app = app(swr(cache.clone()), &gate)
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, SEC))
            .layer(from_fn(move |request, next| {
                one_at_a_time(Arc::clone(&limited), request, next)
            }));
        assert_eq!(get(&app, "/").await.x_cache(), "MISS");
        gate.reached().await;
        clock.advance(11 * SEC);
        traces.reset();
        assert_eq!(get(&app, "/").instrument(span()).await.x_cache(), "STALE");
        gate.reached().await;
        idle().await;
        // The request has ended, while the refresh waits for its handler.
        let request = traces.one("request");
        assert_eq!(attribute(&request, "cache.request.type").as_deref(), Some("stale"));
        assert!(traces.all("cache.refresh").is_empty());
        assert_eq!(permits.available_permits(), 1);
        assert_eq!(get(&app, "/").await.x_cache(), "STALE");
        // Nor does its time limit end the refresh.
        tokio::time::sleep(2 * SEC).await;
        gate.open();
        cache.settled().await;
        idle().await;
        let refresh = traces.one("cache.refresh");
        assert!(is_root_linked_to(&refresh, &request), "{refresh:?}");
        assert!(is_child(&traces.one("handler"), &refresh));
        assert_eq!(attribute(&refresh, "cache.load.outcome").as_deref(), Some("ok"));
        assert!(refresh.end_time >= request.end_time);
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
        traces.reset();
    }
}

/// The control: in the span of the request, as a middleware might spawn it, the request lasts as long.
#[tokio::test(start_paused = true)]
async fn a_task_in_the_span_of_the_request_would_make_it_last_as_long() {
    let traces = Traces::new();
    let gate = Gate::closed();
    let held = gate.clone();
    let background = move |request: Request, next: Next| {
        let held = held.clone();
        tokio::spawn(async move { held.pass().await }.in_current_span());
        next.run(request)
    };
    let app = Router::new()
        .fallback(async || "page")
        .layer(layer())
        .layer(from_fn(background));
    get(&app, "/").instrument(span()).await;
    gate.reached().await;
    idle().await;
    assert!(traces.all("request").is_empty());
    gate.open();
    idle().await;
    traces.one("request");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_its_span_and_not_its_load() {
    for directives in ["debug", "debug,cache=off"] {
        let traces = Traces::of(directives);
        let gate = Gate::closed();
        let (cache, _) = cache();
        let app = app(swr(cache.clone()), &gate);
        let mut asking = Box::pin(get(&app, "/").instrument(span()));
        assert!((&mut asking).now_or_never().is_none());
        gate.reached().await;
        drop(asking);
        idle().await;
        let left = SystemTime::now();
        gate.open();
        cache.settled().await;
        idle().await;
        let (request, handler) = (traces.one("request"), traces.one("handler"));
        assert!(request.end_time <= left);
        assert!(handler.end_time >= left);
        assert_eq!(handler.span_context.trace_id(), request.span_context.trace_id());
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    }
}

#[tokio::test(start_paused = true)]
async fn the_span_of_a_request_ends_with_the_head_of_its_response_while_the_body_is_collected() {
    for directives in ["debug", "debug,cache=off"] {
        let traces = Traces::of(directives);
        let (cache, _) = cache();
        let bodies = Bodies::default();
        let source = bodies.clone();
        let (app, _) = support::app(CacheLayer::new(cache.clone()).ttl(60 * SEC), move |_, _| source.take());
        let pieces = bodies.push();
        pieces.send(Ok("first ".into())).unwrap();
        let response = start(&app, request(Method::GET, "/", &[])).instrument(span()).await;
        idle().await;
        let answered = SystemTime::now();
        pieces.send(Ok("second".into())).unwrap();
        drop(pieces);
        assert_eq!(reply(response).await.text(), "first second");
        cache.settled().await;
        idle().await;
        assert!(traces.one("request").end_time <= answered);
        if directives == "debug" {
            let load = traces.one("cache.load");
            assert!(is_child(&load, &traces.one("request")) && load.end_time >= answered);
        }
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_link_to_the_load_of_another_request() {
    let traces = Traces::new();
    let gate = Gate::closed();
    let app = app(layer(), &gate);
    let ask = || {
        tokio::spawn({
            let app = app.clone();
            async move { get(&app, "/").await }.instrument(span())
        })
    };
    let first = ask();
    gate.reached().await;
    let second = ask();
    idle().await;
    gate.open();
    assert_eq!(first.await.unwrap().text(), "page");
    assert_eq!(second.await.unwrap().text(), "page");
    idle().await;
    let (load, wait) = (traces.one("cache.load"), traces.one("cache.wait"));
    assert_eq!(wait.links.iter().next().unwrap().span_context, load.span_context);
    assert_ne!(wait.span_context.trace_id(), load.span_context.trace_id());
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_client_leaves_is_invalidated_in_a_span_of_its_own() {
    let traces = Traces::new();
    let clock = ManualClock::new();
    let store = bytes_only(&clock);
    let cache = Cache::builder(store.clone()).clock(clock).build();
    let (app, _) = support::app(CacheLayer::new(cache.clone()).ttl(60 * SEC), |_, _| "page");
    get(&app, "/").await;
    traces.reset();
    // The client leaves while the store is told of what it has changed.
    store.delay(SEC / 4);
    let write = send(&app, request(Method::PUT, "/", &[])).instrument(span());
    assert!(timeout(SEC / 8, write).await.is_err());
    let left = SystemTime::now();
    cache.settled().await;
    idle().await;
    assert!(traces.one("request").end_time <= left);
    assert_eq!(get(&app, "/").await.x_cache(), "MISS");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_ends_by_its_deadline_or_with_the_cache() {
    ask_all_subscribers();
    let clock = ManualClock::new();
    let memory = cache_memory::MemoryBackend::builder().clock(clock.clone()).build();
    let cache = Cache::builder(memory).clock(clock.clone()).max_lease(30 * SEC).build();
    for is_shut_down in [false, true] {
        let gate = Gate::closed();
        gate.admit(1);
        let app = app(swr(cache.clone()), &gate);
        let url = if is_shut_down { "/1" } else { "/2" };
        get(&app, url).await;
        gate.reached().await;
        clock.advance(11 * SEC);
        assert_eq!(get(&app, url).await.x_cache(), "STALE");
        gate.reached().await;
        assert_eq!(cache.in_flight(), 1);
        let began = Instant::now();
        let limit = if is_shut_down {
            cache.shutdown().await;
            5 * SEC
        } else {
            cache.settled().await;
            30 * SEC
        };
        let took = began.elapsed();
        assert!(took >= limit - SEC && took < limit + SEC, "{took:?}");
        assert_eq!(cache.in_flight(), 0);
    }
}
