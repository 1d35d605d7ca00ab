//! A store that is out of reach when it is opened: the one line of log.
//!
//! It has a file of its own, since `tracing` keeps what the first subscriber wanted of a line: another test of the same
//! process, without a subscriber, could switch the line off.
#![cfg(all(feature = "redis", feature = "memory"))]
#![allow(clippy::unwrap_used)]

use larder::open;

#[tokio::test]
async fn a_store_out_of_reach_is_logged_once_at_the_start() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    open("redis://user:secret@127.0.0.1:1").await.unwrap();
    let logged = warnings.take();
    assert_eq!(logged.len(), 1, "{logged:?}");
    for part in ["redis", "does not answer yet", "127.0.0.1:1"] {
        assert!(logged[0].contains(part), "{logged:?}");
    }
    assert!(!logged[0].contains("secret"), "{logged:?}");
    open("memory:").await.unwrap();
    assert!(warnings.take().is_empty());
}

/// Collects the warnings that have the target of the toolkit.
#[derive(Clone, Default)]
struct Warnings(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl Warnings {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target() == "cache"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line.push_str(&format!("{field}={value:?} "));
        });
        self.0.lock().unwrap().push(line);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
