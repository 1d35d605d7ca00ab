use std::sync::{Arc, Mutex};

use cache_engine::{Event, Observer};

/// Notes the names of all events.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    pub fn new() -> Self {
        Self::default()
    }

    /// What happened since this was called last.
    pub fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    pub fn count(&self, name: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|noted| **noted == name).count()
    }
}

impl Observer for Log {
    fn on_event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(event.name());
    }
}
