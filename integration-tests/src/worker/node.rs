//! One cache of a worker.

use std::sync::Arc;

use cache_core::{Error, Key};
use cache_engine::{Cache, Policy};
use cache_memory::MemoryBackend;

use crate::worker::loads::Loads;
use crate::worker::outcome::done;
use crate::worker::protocol::{Outcome, Settings};
use crate::worker::stores::{PATIENCE, SkewedClock, Stores};
use crate::worker::ways::NaiveFlights;

/// One cache.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) cache: Cache,
    pub(super) settings: Settings,
    pub(super) loads: Arc<Loads>,
    pub(super) naive: Arc<NaiveFlights>,
}

impl Node {
    pub(super) async fn open(stores: &mut Stores, settings: Settings, loads: Arc<Loads>) -> Result<Self, Error> {
        let ahead = settings.clock_ahead;
        let backend = stores.backend(ahead, settings.way).await?;
        let remembered = Some(settings.negative_ttl).filter(|ttl| !ttl.is_zero());
        let policy = Policy::new(settings.ttl)
            .with_stale_while_revalidate(settings.stale_while_revalidate)
            .with_stale_if_error(settings.stale_if_error)
            .with_negative_ttl(remembered)
            .with_error_ttl(remembered)
            .with_coalesce_across_processes(settings.coalesce_across_processes);
        let mut builder = Cache::builder_shared(backend);
        if let Some(near) = settings.near {
            builder = builder.near(MemoryBackend::default()).near_max_silence(near.bound);
            if let Some(age) = near.max_age {
                builder = builder.near_max_age(age);
            }
        }
        if !settings.tag_cache_ttl.is_zero() {
            builder = builder.tag_cache_ttl(settings.tag_cache_ttl);
        }
        let cache = builder
            .tag_namespaces(settings.tag_namespaces)
            .prefix(&settings.prefix)
            .namespace(&settings.namespace)
            .policy(policy)
            .lease_time(settings.lease_time)
            .backend_timeout(PATIENCE)
            .clock(SkewedClock { ahead })
            .build();
        Ok(Self {
            cache,
            settings,
            loads,
            naive: Arc::default(),
        })
    }

    pub(super) async fn close(&self, keys: &[String]) -> Outcome {
        self.cache.shutdown().await;
        let keys: Vec<Key> = keys.iter().map(|key| self.cache.key(key.as_str())).collect();
        done(self.cache.backend().delete_many(&keys).await)
    }

    /// Returns a handle for a key, with the declared tags of the key.
    pub(super) fn handle(&self, key: &str) -> Cache {
        self.cache.with_tags(self.tags(key, true))
    }

    /// Returns the tags of a key: the declared ones, or those that its loads add.
    pub(super) fn tags(&self, key: &str, declared: bool) -> Vec<String> {
        let tags = self.settings.tags.get(key).into_iter().flatten();
        tags.filter(|tag| tag.declared == declared)
            .map(|tag| tag.name.clone())
            .collect()
    }
}
