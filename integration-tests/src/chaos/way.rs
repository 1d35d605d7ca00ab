//! The ways to cache: with Larder as it is meant to be used, and without what protects callers.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Error, Namespace, Prefix, SetOptions};
use cache_dynamodb::DynamoBackend;
use cache_engine::{Cache, CacheTier, Event};
use cache_memcached::MemcachedBackend;
use cache_memory::MemoryBackend;
use cache_redis::RedisBackend;
use tokio::time::sleep;

use crate::chaos::rig::Rig;
use crate::chaos::store::Store;

/// How long a value takes to load.
pub(super) const LOAD: Duration = Duration::from_millis(20);

/// How long a value is fresh for which several callers ask: it ends during an outage, and after it.
const SHORT: Duration = Duration::from_millis(200);

/// Longer than anything is played.
const LONG: Duration = Duration::from_secs(24 * 3600);

const NEAR_BYTES: u64 = 4 << 20;

/// How a value is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// A cache with a near tier, as the guide recommends. All limits are the defaults.
    Guarded,
    /// The same without time limits and breaker, neither in the cache nor in the backend.
    Unguarded,
    /// A backend without time limits, and code that asks it, loads, and stores. It returns the store's errors.
    ByHand,
}

tokio::task_local! {
    /// Whether the call that this task makes was a hit in the near tier.
    static WAS_NEAR: Cell<bool>;
}

/// What callers ask.
#[derive(Clone)]
pub(super) enum Subject {
    Cache(Cache),
    ByHand(Arc<dyn Backend>, Namespace, SetOptions),
}

/// What one caller got.
pub(super) struct Answer {
    pub(super) value: Result<String, String>,
    pub(super) was_near: bool,
}

impl Subject {
    /// Opens a cache on the store, which connects when it can. Those of one prefix share its entries.
    pub(super) async fn open(rig: &Rig, way: Way, prefix: &str) -> Self {
        let backend = connect(rig, way).await.expect("the settings are right");
        let cache = Cache::builder(Arc::clone(&backend))
            .prefix(prefix)
            .ttl(Duration::from_secs(3600))
            .near(MemoryBackend::builder().max_bytes(NEAR_BYTES).build())
            // So that copies are also used while the store does not report changes.
            .near_max_age(Duration::from_secs(3600))
            .observer(|event: &Event<'_>| {
                if let Event::Hit {
                    tier: CacheTier::Near, ..
                } = event
                {
                    // Calls of the test itself are not measured.
                    let _ = WAS_NEAR.try_with(|was_near| was_near.set(true));
                }
            });
        match way {
            Way::Guarded => Self::Cache(cache.build()),
            Way::Unguarded => Self::Cache(cache.backend_timeout(LONG).breaker(0, LONG).build()),
            Way::ByHand => {
                let namespace = Prefix::new(prefix).namespace("by-hand");
                Self::ByHand(backend, namespace, SetOptions::new(LONG))
            }
        }
    }

    /// Returns the same with values that are fresh for a short time.
    pub(super) fn short_lived(&self) -> Self {
        match self {
            Self::Cache(cache) => Self::Cache(cache.with_namespace("short").with_ttl(SHORT)),
            Self::ByHand(backend, namespace, _) => {
                Self::ByHand(Arc::clone(backend), namespace.clone(), SetOptions::new(SHORT))
            }
        }
    }

    /// Asks for a value, which is loaded if it is not there.
    pub(super) async fn ask(&self, name: &str) -> Answer {
        let asked = async {
            let value = self.value(name).await;
            let was_near = WAS_NEAR.with(Cell::get);
            Answer {
                value: value.and_then(|value| match value == expected(name) {
                    true => Ok(value),
                    false => Err(format!("{value:?} for {name}")),
                }),
                was_near,
            }
        };
        WAS_NEAR.scope(Cell::new(false), asked).await
    }

    async fn value(&self, name: &str) -> Result<String, String> {
        match self {
            Self::Cache(cache) => {
                let load = load(name);
                let loaded = cache
                    .get_or_load(name, || async move { Ok::<_, Infallible>(load.await) })
                    .await;
                loaded.map(|value| (*value).clone()).map_err(|error| error.to_string())
            }
            Self::ByHand(backend, namespace, options) => {
                let key = namespace.key(name);
                let text = |error: Error| error.to_string();
                if let Some(record) = backend.get(&key).await.map_err(text)? {
                    let bytes = record.value.as_bytes().map(|bytes| bytes.to_vec());
                    return String::from_utf8(bytes.unwrap_or_default()).map_err(|error| error.to_string());
                }
                let value = load(name).await;
                let stored = Bytes::from(value.clone()).into();
                let _ = backend.set(&key, stored, *options).await.map_err(text)?;
                Ok(value)
            }
        }
    }

    /// Returns whether a value is in the store.
    pub(super) async fn has(&self, name: &str) -> bool {
        match self {
            Self::Cache(cache) => cache.get::<String>(name).await.is_ok_and(|value| value.is_some()),
            Self::ByHand(backend, namespace, _) => {
                let found = backend.get(&namespace.key(name)).await;
                found.is_ok_and(|record| record.is_some())
            }
        }
    }

    /// Ends the connections.
    pub(super) async fn close(&self) {
        let closed = match self {
            Self::Cache(cache) => {
                cache.shutdown().await;
                cache.backend().close().await
            }
            Self::ByHand(backend, ..) => backend.close().await,
        };
        // Calls may still be running on a store that is slow.
        drop(closed);
    }
}

/// Returns the value of a key.
fn expected(name: &str) -> String {
    format!("the value of {name}, and some more text to make it as long as values are")
}

fn load(name: &str) -> impl Future<Output = String> + Send + 'static {
    let value = expected(name);
    async move {
        sleep(LOAD).await;
        value
    }
}

async fn connect(rig: &Rig, way: Way) -> Result<Arc<dyn Backend>, Error> {
    let url = rig.url();
    let limited = way == Way::Guarded;
    Ok(match rig.store() {
        Store::Redis | Store::Cluster | Store::Sentinel => {
            let redis = RedisBackend::builder().url(&url);
            let redis = match limited {
                true => redis,
                false => redis
                    .operation_timeout(LONG)
                    .connect_timeout(LONG)
                    .unresponsive_timeout(LONG),
            };
            Arc::new(redis.build()?)
        }
        Store::Memcached => {
            let memcached = MemcachedBackend::builder().url(&url);
            let memcached = match limited {
                true => memcached,
                false => memcached.operation_timeout(LONG).connect_timeout(LONG),
            };
            Arc::new(memcached.build()?)
        }
        Store::Dynamodb => {
            let dynamodb = DynamoBackend::builder().url(&url).static_credentials("local", "local");
            let dynamodb = match limited {
                true => dynamodb,
                false => dynamodb
                    .operation_timeout(LONG)
                    .attempt_timeout(LONG)
                    .connect_timeout(LONG),
            };
            Arc::new(dynamodb.connect().await?)
        }
    })
}
