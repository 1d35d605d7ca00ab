//! Calls of a real Redis are client spans, as OpenTelemetry's conventions for databases have them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::time::Duration;

use cache_engine::Cache;
use cache_redis::RedisBackend;
use integration_tests::Redis;
use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Instrument, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};

/// For a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn attribute<'a>(span: &'a SpanData, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.as_str())
}

fn is_child(child: &SpanData, parent: &SpanData) -> bool {
    child.parent_span_id == parent.span_context.span_id()
}

#[tokio::test]
async fn calls_of_redis_are_client_spans() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let traced = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("test"))
        .with_filter(tracing_subscriber::filter::filter_fn(|metadata| {
            let is_ours = metadata.target().starts_with("cache") || metadata.target() == "redis_traces";
            is_ours && *metadata.level() <= LevelFilter::DEBUG
        }));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(traced));
    let ended = |name: &str| -> Vec<SpanData> {
        let mut spans = exporter.get_finished_spans().unwrap();
        spans.retain(|span| span.name == name);
        spans
    };

    let redis = RedisBackend::builder()
        .url(Redis::shared().await.url())
        .connect_timeout(PATIENCE)
        .operation_timeout(PATIENCE)
        .unresponsive_timeout(PATIENCE)
        .connect()
        .await
        .unwrap();
    let cache = Cache::builder(redis)
        .prefix(&format!("traces-{:016x}", fastrand::u64(..)))
        .name("shop")
        .ttl(Duration::from_secs(60))
        .stale_while_revalidate(Duration::from_secs(60))
        .backend_timeout(PATIENCE)
        .build();
    let get = |value: u32| {
        let load = move || async move { Ok::<_, Infallible>(value) };
        let cache = cache.clone();
        async move { *cache.get_or_load("42", load).await.unwrap() }.instrument(info_span!("request"))
    };

    // A miss: one call reads and takes the lease, one stores the value.
    assert_eq!(get(1).await, 1);
    cache.settled().await;
    let (request, load) = (ended("request").remove(0), ended("cache.load").remove(0));
    let (read, write) = (ended("get_or_add").remove(0), ended("set").remove(0));
    assert!(is_child(&load, &request) && is_child(&read, &request) && is_child(&write, &load));
    for (call, operation) in [(&read, "get_or_add"), (&write, "set")] {
        assert_eq!(
            (call.span_kind.clone(), &call.status),
            (SpanKind::Client, &Status::Unset)
        );
        assert_eq!(attribute(call, "db.system.name").as_deref(), Some("redis"));
        assert_eq!(attribute(call, "db.operation.name").as_deref(), Some(operation));
        assert_eq!(attribute(call, "cache.name").as_deref(), Some("shop"));
        assert_eq!(attribute(call, "error.type"), None);
    }

    // A stale value: the refresh and its calls are a trace of their own.
    cache.soft().invalidate("42").await.unwrap();
    exporter.reset();
    assert_eq!(get(2).await, 1);
    let request = ended("request").remove(0);
    cache.settled().await;
    let refresh = ended("cache.refresh").remove(0);
    assert_eq!(refresh.parent_span_id, SpanId::INVALID);
    assert_eq!(refresh.links.iter().next().unwrap().span_context, request.span_context);
    let writes = ended("set");
    // The lease beside the record, and the value.
    assert_eq!(writes.len(), 2);
    let trace = refresh.span_context.trace_id();
    assert!(writes.iter().all(|write| write.span_context.trace_id() == trace));
    assert_eq!(get(3).await, 2);
}
