use std::sync::{Arc, Mutex};

use cache_engine::{Event, Observer};
use tokio::sync::Notify;

/// Notes the names of all events but `store_called`, which says nothing new.
#[derive(Debug, Clone, Default)]
pub struct Log {
    names: Arc<Mutex<Vec<&'static str>>>,
    noted: Arc<Notify>,
}

impl Log {
    pub fn new() -> Self {
        Self::default()
    }

    /// What happened since this was called last.
    pub fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.names.lock().unwrap())
    }

    pub fn count(&self, name: &str) -> usize {
        self.names
            .lock()
            .unwrap()
            .iter()
            .filter(|noted| **noted == name)
            .count()
    }

    /// Waits until `count` events of this name have happened.
    pub async fn reached(&self, name: &str, count: usize) {
        loop {
            let mut noted = std::pin::pin!(self.noted.notified());
            noted.as_mut().enable();
            if self.count(name) >= count {
                return;
            }
            noted.await;
        }
    }
}

impl Observer for Log {
    fn on_event(&self, event: &Event<'_>) {
        if event.name() == "store_called" {
            return;
        }
        self.names.lock().unwrap().push(event.name());
        self.noted.notify_waiters();
    }
}
