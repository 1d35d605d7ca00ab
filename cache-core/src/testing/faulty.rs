use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::backend::{Backend, Capabilities, Limits, SetOptions, SetOutcome, Usage};
use crate::error::{Error, ErrorKind};
use crate::key::{Key, Scope};
use crate::record::{Record, Value, Version};

/// A store that fails, hangs or is slow when the test says so.
///
/// Wraps any backend. Clones share one state, so keep one to steer the store that the cache has:
///
/// ```
/// # use cache_core::{Backend, Error, Key, Record, SetOptions, SetOutcome, Value, async_trait};
/// # #[derive(Debug, Default)] struct MemoryBackend;
/// # #[async_trait]
/// # impl Backend for MemoryBackend {
/// #     async fn get(&self, _: &Key) -> Result<Option<Record>, Error> { Ok(None) }
/// #     async fn set(&self, _: &Key, _: Value, _: SetOptions) -> Result<SetOutcome, Error> { Ok(SetOutcome::Refused) }
/// #     async fn delete(&self, _: &Key) -> Result<bool, Error> { Ok(false) }
/// # }
/// use cache_core::testing::FaultyBackend;
/// use cache_core::{ErrorKind, Prefix};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let store = FaultyBackend::new(MemoryBackend::default());
/// let key = Prefix::new("shop").namespace("users").key("42");
///
/// store.fail(ErrorKind::Unavailable);
/// assert_eq!(store.get(&key).await.unwrap_err().kind(), ErrorKind::Unavailable);
/// store.recover();
/// assert!(store.get(&key).await?.is_none());
/// assert_eq!(store.calls(), 2);
/// # Ok(()) }
/// ```
///
/// Values are handed on as bytes, as by a store on a network: the cache encodes what it stores here. It does not report
/// changes or evictions.
#[derive(Debug, Clone)]
pub struct FaultyBackend<B> {
    inner: Arc<B>,
    fault: watch::Sender<Fault>,
    calls: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    Fails(ErrorKind),
    Hangs,
    Slow(Duration),
}

impl<B: Backend> FaultyBackend<B> {
    /// Wraps `inner`, without a fault so far.
    pub fn new(inner: B) -> Self {
        Self {
            inner: Arc::new(inner),
            fault: watch::Sender::new(Fault::None),
            calls: Arc::default(),
        }
    }

    /// Makes every call fail with an error of this kind, before it reaches the store. Calls that hang fail too.
    pub fn fail(&self, kind: ErrorKind) {
        self.fault.send_replace(Fault::Fails(kind));
    }

    /// Makes every call hang until [`recover`](Self::recover) or [`fail`](Self::fail).
    pub fn hang(&self) {
        self.fault.send_replace(Fault::Hangs);
    }

    /// Makes every call take this much longer, by tokio's clock.
    pub fn delay(&self, delay: Duration) {
        self.fault.send_replace(Fault::Slow(delay));
    }

    /// Ends the fault. Calls that hang are carried out.
    pub fn recover(&self) {
        self.fault.send_replace(Fault::None);
    }

    /// Returns the number of calls that were made, failed ones included.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn enter(&self) -> Result<&B, Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut fault = self.fault.subscribe();
        loop {
            let now = *fault.borrow_and_update();
            match now {
                Fault::None => return Ok(&self.inner),
                Fault::Fails(kind) => return Err(Error::new(kind, "a fault that the test asked for")),
                Fault::Slow(delay) => {
                    tokio::time::sleep(delay).await;
                    return Ok(&self.inner);
                }
                // `self` keeps the sender, so this waits for the next fault.
                Fault::Hangs => {
                    let _ = fault.changed().await;
                }
            }
        }
    }
}

#[async_trait]
impl<B: Backend> Backend for FaultyBackend<B> {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.enter().await?.get(key).await
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.enter().await?.set(key, value, options).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.enter().await?.delete(key).await
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.enter().await?.delete_if(key, version).await
    }

    async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        self.enter().await?.version(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        self.enter().await?.get_many(keys).await
    }

    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        self.enter().await?.set_many(entries).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        self.enter().await?.delete_many(keys).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.enter().await?.clear(scope).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.enter().await?.ping().await
    }

    /// Closes the store, whatever the fault.
    async fn close(&self) -> Result<(), Error> {
        self.inner.close().await
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn system_name(&self) -> &'static str {
        self.inner.system_name()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_clear(self.inner.capabilities().clear)
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}
