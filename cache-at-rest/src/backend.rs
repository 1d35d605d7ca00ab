//! The backend that wraps another one.

use std::time::Duration;

use cache_core::{
    Backend, Capabilities, Error, ErrorKind, EvictionListener, GetOrAdd, Key, Limits, Record, Scope, SetMode,
    SetOptions, SetOutcome, Subscription, Usage, Value, Version, async_trait,
};

#[cfg(any(feature = "zstd", feature = "lz4"))]
use crate::compression::Compression;
use crate::error::unreadable;
use crate::format::Format;
#[cfg(feature = "encryption")]
use crate::key_ring::KeyRing;

/// A backend whose values are compressed, encrypted, or both, in the store of another backend.
///
/// It is a [`Backend`] like the one that it wraps, with the same guarantees. It changes values only: keys, lifetimes and
/// versions are those of the store. Without any setting it passes everything on as it is.
///
/// Values are compressed and then encrypted, in whichever order you call the setters. The work is done on the thread of the
/// caller.
///
/// ```
/// # #[cfg(all(feature = "zstd", feature = "encryption"))]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache_core::Error> {
/// use cache_at_rest::{AtRest, Compression, KeyRing};
/// use cache_engine::Cache;
/// # use cache_memory::MemoryBackend;
///
/// # let secret = "1:5c0f7a93c8f6fbd1f4a1e1b6b8a7b14bd1bd7c4f9b7e4d1f7c4d3f7a3b9e2f10";
/// # let redis = MemoryBackend::default();
/// let keys: KeyRing = secret.parse()?;
/// let store = AtRest::new(redis).with_compression(Compression::zstd()).with_encryption(keys);
/// let cache = Cache::builder(store).prefix("shop").build();
///
/// cache.set("42", "Ada".to_owned()).await?;
/// assert_eq!(*cache.get::<String>("42").await?.unwrap(), "Ada");
/// # Ok(()) }
/// # #[cfg(not(all(feature = "zstd", feature = "encryption")))]
/// # fn main() {}
/// ```
///
/// # Capabilities and limits
///
/// - A store in this process keeps bytes here, and no objects: each hit decodes its value.
/// - With compression, [`Limits::value_bytes`] is the largest value that is tried. Whether it fits into the store depends on
///   how well it compresses. If it does not, the write fails with [`TooLarge`](ErrorKind::TooLarge).
#[derive(Debug, Clone)]
#[must_use]
pub struct AtRest<B> {
    inner: B,
    format: Format,
}

impl<B: Backend> AtRest<B> {
    /// Wraps `inner`, which may be an `Arc<dyn Backend>`, such as `larder::open` returns.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            format: Format::new(),
        }
    }

    /// Sets how values are compressed. Default: not at all.
    ///
    /// Compressed records are read in any case, if the feature of their algorithm is on.
    #[cfg(any(feature = "zstd", feature = "lz4"))]
    pub fn with_compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.format.compression = compression.into();
        self
    }

    /// Sets the keys that values are encrypted with. Default: none, and values are not encrypted.
    ///
    /// With keys, a record that was not sealed with one of them counts as a miss. That includes all records from before
    /// encryption was introduced.
    #[cfg(feature = "encryption")]
    pub fn with_encryption(mut self, keys: impl Into<Option<KeyRing>>) -> Self {
        self.format.keys = keys.into();
        self
    }

    /// Sets how many bytes a compressed record may have when it is decompressed. Default: 64 MiB.
    ///
    /// A record that says it has more is a miss, and no memory is allocated for it, so nobody who can write to the store can
    /// exhaust the memory of its readers. Larger values are stored without compression, if the store takes them.
    pub fn with_max_decompressed(mut self, bytes: usize) -> Self {
        self.format.max_decompressed = bytes;
        self
    }

    /// Returns the backend that it wraps.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn encode(&self, key: &Key, value: Value) -> Result<Value, Error> {
        let encoded = match value {
            Value::Bytes(bytes) => self.format.encode(key, bytes, self.limits().value_bytes),
            Value::Shared(_) => Err(Error::new(
                ErrorKind::Rejected,
                "an object cannot be stored here: values are bytes at rest",
            )),
        };
        encoded
            .map(Value::Bytes)
            .map_err(|error| error.with_backend(self.inner.name()).with_operation("set"))
    }

    fn decode(&self, key: &Key, mut record: Record) -> Record {
        record.value = match record.value {
            Value::Bytes(bytes) => match self.format.decode(key, bytes) {
                Ok(bytes) => Value::Bytes(bytes),
                Err(error) => Value::unreadable(error.with_backend(self.inner.name())),
            },
            object if self.format.is_sealed() && object.unreadable_reason().is_none() => {
                Value::unreadable(unreadable("the record is not sealed").with_backend(self.inner.name()))
            }
            object => object,
        };
        record
    }

    /// Returns `error`, the reason why a value is not written. Before that, removes the record that it would have replaced.
    async fn refuse(&self, key: &Key, options: SetOptions, error: Error) -> Error {
        if error.kind() == ErrorKind::TooLarge && options.mode == SetMode::Always {
            match self.inner.delete(key).await {
                Ok(_) => error,
                Err(failure) => failure,
            }
        } else {
            error
        }
    }
}

#[async_trait]
impl<B: Backend> Backend for AtRest<B> {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let record = self.inner.get(key).await?;
        Ok(record.map(|record| self.decode(key, record)))
    }

    fn get_now(&self, key: &Key) -> Option<Result<Option<Record>, Error>> {
        let record = self.inner.get_now(key)?;
        Some(record.map(|record| record.map(|record| self.decode(key, record))))
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        match self.encode(key, value) {
            Ok(value) => self.inner.set(key, value, options).await,
            Err(error) => Err(self.refuse(key, options, error).await),
        }
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.inner.delete(key).await
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.inner.delete_if(key, version).await
    }

    async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        self.inner.version(key).await
    }

    async fn get_or_add(&self, key: &Key, value: Value, options: SetOptions) -> Result<GetOrAdd, Error> {
        let value = self.encode(key, value)?;
        Ok(match self.inner.get_or_add(key, value, options).await? {
            GetOrAdd::Found(record) => GetOrAdd::Found(self.decode(key, record)),
            GetOrAdd::Added(version) => GetOrAdd::Added(version),
        })
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        let records = self.inner.get_many(keys).await?;
        let decode = |(record, key): (Option<Record>, &Key)| record.map(|record| self.decode(key, record));
        Ok(records.into_iter().zip(keys).map(decode).collect())
    }

    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        let mut encoded = Vec::with_capacity(entries.len());
        let mut refused = None;
        for (key, value, options) in entries {
            match self.encode(&key, value) {
                Ok(value) => encoded.push((key, value, options)),
                Err(error) => {
                    let error = self.refuse(&key, options, error).await;
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            None => self.inner.set_many(encoded).await,
            Some(error) => Err(error),
        }
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        self.inner.delete_many(keys).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.inner.clear(scope).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }

    async fn close(&self) -> Result<(), Error> {
        self.inner.close().await
    }

    /// Returns the name of the store.
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn system_name(&self) -> &'static str {
        self.inner.system_name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities().with_shared_objects(false)
    }

    fn limits(&self) -> Limits {
        let mut limits = self.inner.limits();
        limits.value_bytes = limits.value_bytes.map(|record| self.format.largest_value(record));
        limits
    }

    /// Returns the usage of the store, which counts the bytes as they are stored.
    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }

    async fn subscribe(&self, scope: &Scope, heartbeat: Duration) -> Result<Box<dyn Subscription>, Error> {
        self.inner.subscribe(scope, heartbeat).await
    }

    fn on_eviction(&self, listener: EvictionListener) {
        self.inner.on_eviction(listener);
    }
}
