//! Records durations as they happen.

use std::time::Duration;

use cache_engine::{Event, Observer, StatsReader};
use metrics::histogram;

use crate::names;
use crate::publish::CacheMetrics;

impl Observer for CacheMetrics {
    fn on_event(&self, _: &Event<'_>) {}

    fn on_event_of(&self, cache: &str, event: &Event<'_>) {
        match event {
            Event::Loaded { took, .. } => load(cache, "ok", *took),
            Event::LoadFailed { took, failure, .. } => load(cache, failure.as_str(), *took),
            Event::StoreCalled {
                system,
                operation,
                took,
                failure,
                ..
            } => {
                let mut labels = vec![
                    (names::NAME, cache.to_owned()),
                    (names::DB_SYSTEM, (*system).to_owned()),
                    (names::DB_OPERATION, (*operation).to_owned()),
                ];
                if let Some(kind) = failure {
                    labels.push((names::ERROR_TYPE, kind.to_string()));
                }
                histogram!(names::STORE_DURATION, &labels).record(*took);
            }
            _ => {}
        }
    }

    fn on_build(&self, stats: StatsReader) {
        self.watch(stats);
    }
}

fn load(cache: &str, outcome: &'static str, took: Duration) {
    let labels = [
        (names::NAME, cache.to_owned()),
        (names::LOAD_OUTCOME, outcome.to_owned()),
    ];
    histogram!(names::LOAD_DURATION, &labels).record(took);
}
