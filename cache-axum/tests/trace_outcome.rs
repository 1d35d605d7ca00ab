//! The outcome of a request is an attribute of its span.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ErrorKind;
use http::Method;
use support::{bytes_only, cache, request, send};
use tracing::field::{Empty, Field, Visit};
use tracing::span::{Id, Record};
use tracing::{Instrument, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What was recorded in spans, by their names and fields.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, String>>>);

impl Recorded {
    fn take(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorded {
    fn on_record(&self, span: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let name = context.span(span).unwrap().name();
        // The cache records what its own spans are about.
        if name.starts_with("cache.") {
            return;
        }
        values.record(&mut Values(name, &mut self.0.lock().unwrap()));
    }
}

struct Values<'a>(&'static str, &'a mut BTreeMap<String, String>);

impl Visit for Values<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.1.insert(format!("{}: {}", self.0, field.name()), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.1
            .insert(format!("{}: {}", self.0, field.name()), format!("{value:?}"));
    }
}

fn app(cache: &Cache, trace: bool) -> Router {
    let handler = |request: Request| async move {
        match request.uri().path() {
            "/private" => ([("cache-control", "private")], "mine").into_response(),
            _ => "page".into_response(),
        }
    };
    let layer = CacheLayer::new(cache.clone())
        // A name may look like parameters.
        .name("a; hit; b")
        .ttl(Duration::from_secs(60))
        .stale_while_revalidate(Duration::from_secs(60))
        .trace_outcome(trace);
    Router::new().fallback(handler).layer(layer)
}

#[tokio::test]
async fn each_outcome_is_recorded_in_the_span_of_the_request() {
    let recorded = Recorded::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(recorded.clone()));
    let (_, clock) = cache();
    let store = bytes_only(&clock);
    let cache = Cache::builder(store.clone()).clock(clock.clone()).build();
    let app = app(&cache, true);
    let ask = async |method: Method, path: &str, outcome: &str| {
        let span = info_span!("request", cache.request.type = Empty, cache.status = Empty);
        let reply = send(&app, request(method, path, &[])).instrument(span).await;
        let expected = [
            ("request: cache.request.type".to_owned(), outcome.to_owned()),
            ("request: cache.status".to_owned(), reply.cache_status().to_owned()),
        ];
        assert_eq!(recorded.take(), BTreeMap::from(expected));
    };
    ask(Method::GET, "/", "miss").await;
    ask(Method::GET, "/", "hit").await;
    ask(Method::GET, "/private", "miss").await;
    ask(Method::POST, "/other", "bypass").await;
    clock.advance(Duration::from_secs(90));
    ask(Method::GET, "/", "stale").await;
    cache.settled().await;
    store.fail(ErrorKind::Unavailable);
    ask(Method::GET, "/new", "outage").await;
    // Whatever else there is to say about the response.
    ask(Method::HEAD, "/new", "outage").await;
    ask(Method::GET, "/private", "outage").await;
}

#[tokio::test]
async fn hits_in_memory_are_recorded_and_nothing_is_unless_it_is_asked_for() {
    let recorded = Recorded::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(recorded.clone()));
    let (cache, _) = cache();
    for (trace, expected) in [(true, Some("hit")), (false, None)] {
        let app = app(&cache, trace);
        for _ in 0..3 {
            let span = info_span!("request", cache.request.type = Empty);
            send(&app, request(Method::GET, "/", &[])).instrument(span).await;
        }
        let outcome = recorded.take().remove("request: cache.request.type");
        assert_eq!(outcome.as_deref(), expected);
        // A span that declares nothing gets nothing, and neither does a request without a span.
        send(&app, request(Method::GET, "/", &[]))
            .instrument(info_span!("other"))
            .await;
        send(&app, request(Method::GET, "/", &[])).await;
        assert!(recorded.take().is_empty());
    }
}
