//! What the tests of the engine share.

#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod log;
mod remote;
mod teller;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_core::Clock;
pub use cache_core::testing::{Gate, idle};
use cache_engine::{Cache, CacheBuilder, LoadError};
use cache_memory::{MemoryBackend, MemoryBackendBuilder};

pub use self::clock::TokioClock;
pub use self::log::Log;
pub use self::remote::{Call, Fate, Remote};
pub use self::teller::Teller;

pub const MS: Duration = Duration::from_millis(1);
pub const SEC: Duration = Duration::from_secs(1);

/// A memory store that tells the time by `clock` and starts no task of its own, which would move a paused clock.
pub fn memory(clock: impl Clock) -> MemoryBackend {
    memory_builder(clock).build()
}

pub fn memory_builder(clock: impl Clock) -> MemoryBackendBuilder {
    MemoryBackend::builder().clock(clock).background_purge(false).shards(1)
}

/// A cache over an own memory store, both by `clock`.
pub fn local(clock: &(impl Clock + Clone)) -> CacheBuilder {
    Cache::builder(memory(clock.clone())).clock(clock.clone())
}

/// A cache over `remote`, by tokio's clock.
pub fn over(remote: &Remote) -> CacheBuilder {
    Cache::builder(remote.clone()).clock(TokioClock::new())
}

/// Counts how often something is loaded.
#[derive(Debug, Clone, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Counts one more, and tells the new count.
    pub fn up(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A loader that gives `value` at once.
    pub fn loading<T: Send + 'static>(
        &self,
        value: T,
    ) -> impl FnOnce() -> std::future::Ready<Result<T, Infallible>> + Send + 'static + use<T> {
        let count = self.clone();
        move || {
            count.up();
            std::future::ready(Ok(value))
        }
    }
}

/// Gets "key", or loads `result` once `gate` is open.
pub fn load<E>(
    cache: &Cache,
    gate: Option<&Gate>,
    loads: &Count,
    result: Result<&'static str, E>,
) -> impl Future<Output = Result<Arc<String>, LoadError<E>>> + Send + use<E>
where
    E: Send + Sync + 'static,
{
    let (cache, gate, loads) = (cache.clone(), gate.cloned(), loads.clone());
    async move {
        let load = move || async move {
            loads.up();
            if let Some(gate) = gate {
                gate.pass().await;
            }
            result.map(str::to_owned)
        };
        cache.get_or_load("key", load).await
    }
}
