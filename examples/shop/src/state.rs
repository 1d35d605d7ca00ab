//! What the handlers share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder::metrics::CacheMetrics;
use larder::prelude::*;
use tokio::sync::{broadcast, watch};

use crate::database::{Database, Item};
use crate::sessions::Sessions;

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) cache: Cache,
    pub(crate) database: Database,
    pub(crate) sessions: Sessions,
    pub(crate) changes: broadcast::Sender<Item>,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) events: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    pub(crate) metrics: CacheMetrics,
    pub(crate) admin_token: Arc<str>,
}

impl App {
    /// A shop on a database, cached as `settings` say. `admin_token` is what its own people authenticate with.
    ///
    /// # Errors
    /// What is wrong with the settings, by name.
    pub async fn new(database: Database, settings: &Settings, admin_token: &str) -> Result<Self, Error> {
        let events = Arc::new(Mutex::new(BTreeMap::new()));
        let counted = Arc::clone(&events);
        let count = move |event: &larder::Event<'_>| {
            let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            *counted.entry(event.name()).or_default() += 1;
        };
        let metrics = CacheMetrics::new();
        let cache = settings.open().await?.observer(count).observer(metrics.clone()).build();
        Ok(Self {
            cache,
            database,
            sessions: Sessions::default(),
            changes: broadcast::channel(64).0,
            stopping: watch::Sender::new(false),
            events,
            metrics,
            admin_token: admin_token.into(),
        })
    }

    /// Ends the streams of changes, which a graceful shutdown would wait for.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until what the cache does in the background is done.
    pub async fn settled(&self) {
        self.cache.settled().await;
    }

    /// Waits until what the cache does in the background is done, for 10 s at most, and closes the store.
    pub async fn shutdown(&self) {
        // A load has no time limit of its own.
        let _ = tokio::time::timeout(Duration::from_secs(10), self.cache.shutdown()).await;
        // Whatever the store says: there is nothing left to do.
        let _ = self.cache.backend().close().await;
    }
}
