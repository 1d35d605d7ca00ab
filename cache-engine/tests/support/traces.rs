#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::sync::OnceLock;

use opentelemetry::trace::{SpanId, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};

/// Has `tracing` ask all subscribers which spans they want. While there is one at most, it asks that of the thread which
/// first comes to a span, and remembers the answer for all threads: "none", if a test without a subscriber was first.
fn ask_all_subscribers() {
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));
}

/// OpenTelemetry's SDK with a collector in this process, for the spans of this thread.
pub struct Traces {
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
    _subscriber: DefaultGuard,
}

impl Traces {
    /// Collects all spans.
    pub fn new() -> Self {
        Self::of(Targets::new().with_default(LevelFilter::DEBUG))
    }

    /// Collects the spans of these targets.
    pub fn of(targets: Targets) -> Self {
        Self::build(targets, None)
    }

    /// Collects the spans of these targets, beside another layer that wants all.
    pub fn beside_another(targets: Targets) -> Self {
        Self::build(Targets::new().with_default(LevelFilter::DEBUG), Some(targets))
    }

    fn build(all: Targets, collected: Option<Targets>) -> Self {
        ask_all_subscribers();
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry()
            .with(all)
            .with(layer.with_filter(collected.unwrap_or(Targets::new().with_default(LevelFilter::TRACE))));
        Self {
            exporter,
            _provider: provider,
            _subscriber: tracing::subscriber::set_default(subscriber),
        }
    }

    /// All spans that have ended so far.
    pub fn ended(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }

    /// The spans of this name that have ended so far.
    pub fn all(&self, name: &str) -> Vec<SpanData> {
        let mut spans = self.ended();
        spans.retain(|span| span.name == name);
        spans
    }

    /// The only span of this name that has ended so far.
    #[track_caller]
    pub fn one(&self, name: &str) -> SpanData {
        let spans = self.all(name);
        let names = || self.ended().iter().map(|span| span.name.clone()).collect::<Vec<_>>();
        assert_eq!(spans.len(), 1, "{name} of {:?}", names());
        spans.into_iter().next().unwrap()
    }

    /// Forgets all spans.
    pub fn reset(&self) {
        self.exporter.reset();
    }
}

/// What tests ask of a span.
pub trait Asked {
    fn attribute(&self, name: &str) -> Option<String>;
    fn is_child_of(&self, parent: &SpanData) -> bool;
    /// Whether the span is the first one of a trace, and links to `other`.
    fn is_root_linked_to(&self, other: &SpanData) -> bool;
    fn links_to(&self, other: &SpanData) -> bool;
}

impl Asked for SpanData {
    fn attribute(&self, name: &str) -> Option<String> {
        let found = self.attributes.iter().find(|attribute| attribute.key.as_str() == name);
        found.map(|attribute| attribute.value.to_string())
    }

    fn is_child_of(&self, parent: &SpanData) -> bool {
        self.parent_span_id == parent.span_context.span_id()
            && self.span_context.trace_id() == parent.span_context.trace_id()
    }

    fn is_root_linked_to(&self, other: &SpanData) -> bool {
        self.parent_span_id == SpanId::INVALID
            && self.span_context.trace_id() != other.span_context.trace_id()
            && self.links_to(other)
    }

    fn links_to(&self, other: &SpanData) -> bool {
        self.links.iter().any(|link| link.span_context == other.span_context)
    }
}
