//! A warning is one sentence, which no key can break into two lines or forge.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fmt;
use std::sync::{Arc, Mutex};

use cache_core::ErrorKind;
use support::{Fate, Remote, over};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// Keeps the messages of warnings.
#[derive(Clone, Default)]
struct Messages(Arc<Mutex<Vec<String>>>);

struct Message<'a>(&'a mut Vec<String>);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.push(format!("{value:?}"));
        }
    }
}

impl Subscriber for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target() == "cache"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Message(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_warning_names_the_operation_the_key_and_the_error() {
    let messages = Messages::default();
    let _guard = tracing::subscriber::set_default(messages.clone());
    let remote = Remote::new();
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    let cache = over(&remote).build();
    cache.get::<u32>("a\nWARN \"forged\"").await.unwrap_err();
    let messages = messages.0.lock().unwrap();
    let line = messages.first().unwrap();
    assert!(line.starts_with("the store failed: get of \""), "{line}");
    assert!(line.contains(r#"a\nWARN \"forged\""#) && !line.contains('\n'), "{line}");
    assert!(line.contains("unavailable"), "{line}");
}
