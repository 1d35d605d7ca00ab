//! A worker's connections to its store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cache_core::{Backend, Clock, Error, ErrorKind, Timestamp};
use cache_dynamodb::DynamoBackend;
use cache_memcached::MemcachedBackend;
use cache_memory::MemoryBackend;
use cache_redis::RedisBackend;

use crate::worker::protocol::Way;
use crate::worker::ways::{LostTags, PlainSets};

/// The time limit of calls. It is long, since the stores share a few processors with the tests.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The machine's clock with an offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct SkewedClock {
    /// Milliseconds.
    pub(super) ahead: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp::from(SystemTime::now()).as_millis();
        Timestamp::from_millis(now.saturating_add_signed(self.ahead))
    }
}

/// One store, with separate connections for each clock and implementation.
#[derive(Debug)]
pub(super) struct Stores {
    url: String,
    /// The memory store is one store for all clocks.
    memory: Option<MemoryBackend>,
    open: HashMap<(i64, Way), Arc<dyn Backend>>,
}

impl Stores {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            memory: url.starts_with("memory:").then(MemoryBackend::default),
            open: HashMap::new(),
        }
    }

    pub(super) async fn backend(&mut self, ahead: i64, way: Way) -> Result<Arc<dyn Backend>, Error> {
        if let Some(backend) = self.open.get(&(ahead, way)) {
            return Ok(Arc::clone(backend));
        }
        let backend = match &self.memory {
            Some(memory) => Arc::new(memory.clone()),
            None => connect(&self.url, SkewedClock { ahead }).await?,
        };
        let backend: Arc<dyn Backend> = match way {
            Way::PlainSets => Arc::new(PlainSets(backend)),
            Way::LostTags => Arc::new(LostTags::over(backend)),
            _ => backend,
        };
        self.open.insert((ahead, way), Arc::clone(&backend));
        Ok(backend)
    }
}

async fn connect(url: &str, clock: SkewedClock) -> Result<Arc<dyn Backend>, Error> {
    let scheme = url.split([':', '-']).next().unwrap_or_default();
    Ok(match scheme {
        "redis" | "rediss" | "valkey" | "valkeys" => {
            let redis = RedisBackend::builder()
                .url(url)
                .operation_timeout(PATIENCE)
                .connect_timeout(PATIENCE)
                .unresponsive_timeout(PATIENCE)
                .clock(clock);
            Arc::new(redis.connect().await?)
        }
        "memcached" => {
            let memcached = MemcachedBackend::builder()
                .url(url)
                .connect_timeout(PATIENCE)
                .operation_timeout(PATIENCE)
                .clock(clock);
            Arc::new(memcached.connect().await?)
        }
        "dynamodb" => {
            let dynamodb = DynamoBackend::builder()
                .url(url)
                .static_credentials("local", "local")
                .connect_timeout(PATIENCE)
                .attempt_timeout(PATIENCE)
                .operation_timeout(PATIENCE)
                .clock(clock);
            Arc::new(dynamodb.connect().await?)
        }
        _ => {
            let message = format!("no store has the scheme of {url:?}");
            return Err(Error::new(ErrorKind::Configuration, message));
        }
    })
}
