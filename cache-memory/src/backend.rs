use std::fmt;
use std::sync::Arc;

use cache_core::{
    Backend, Capabilities, Error, EvictionListener, Key, Limits, Record, Scope, SetOptions, SetOutcome, Value, Version,
    async_trait,
};

use crate::MemoryBackendBuilder;
use crate::shard::ENTRY_OVERHEAD;
use crate::stats::Stats;
use crate::store::{NAME, Store};

/// A store in the memory of this process. Clones are cheap and share the records.
///
/// See the [crate's documentation](crate) for what it keeps to.
#[derive(Clone)]
pub struct MemoryBackend {
    store: Arc<Store>,
}

impl MemoryBackend {
    /// What each entry counts for in bytes, beside its key and its value: its place in the table and in the index of
    /// deadlines, and the allocations of both.
    pub const ENTRY_OVERHEAD: u64 = ENTRY_OVERHEAD;

    /// Bounds and clock to choose, then [`build`](MemoryBackendBuilder::build).
    pub fn builder() -> MemoryBackendBuilder {
        MemoryBackendBuilder::default()
    }

    pub(crate) fn new(store: Store) -> Self {
        Self { store: Arc::new(store) }
    }

    /// The number of entries held, including expired ones that have not been freed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stats().entries
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the entries count for together, in bytes: keys, values and [`ENTRY_OVERHEAD`](Self::ENTRY_OVERHEAD) for
    /// each.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.stats().bytes
    }

    /// What is held and what was given up.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// Frees all records that are past their deadline now and tells how many there were.
    ///
    /// There is no need to call it where the background task runs; it is for clocks that tests move, and for programs
    /// without a runtime.
    #[expect(clippy::must_use_candidate, reason = "freeing is the point, the number is not")]
    pub fn purge_expired(&self) -> usize {
        self.store.purge_expired()
    }
}

impl Default for MemoryBackend {
    /// 256 MiB, 1,000,000 entries, the system's clock.
    fn default() -> Self {
        Self::builder().build()
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("MemoryBackend")
            .field("entries", &stats.entries)
            .field("max_entries", &self.store.max_entries)
            .field("bytes", &stats.bytes)
            .field("max_bytes", &self.store.max_bytes)
            .field("closed", &self.store.is_closed())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.store.get(key)
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.store.set(key, value, options)
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.store.delete(key)
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.store.delete_if(key, version)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        // An empty batch looks at nothing, and a closed store still says so.
        self.store.check_open("get_many")?;
        keys.iter().map(|key| self.store.get(key)).collect()
    }

    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        self.store.check_open("set_many")?;
        entries
            .into_iter()
            .map(|(key, value, options)| self.store.set(&key, value, options))
            .collect()
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        self.store.check_open("delete_many")?;
        let mut removed = 0;
        for key in keys {
            removed += u64::from(self.store.delete(key)?);
        }
        Ok(removed)
    }

    /// Looks at every entry, so it takes time in proportion to what the store holds. Readers go on meanwhile; writers
    /// wait for the part of the store that is being looked at. For each key it is atomic: a record that was there
    /// when the call began, or was written over such a one, is gone when it returns. If the future is dropped, a part
    /// has been removed.
    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.store.clear(scope).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.store.check_open("ping")
    }

    /// Drops all records at once, for all clones of the handle. The empty tables go with the last handle.
    async fn close(&self) -> Result<(), Error> {
        self.store.close();
        Ok(())
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_clear(true).with_shared_objects(true)
    }

    /// Values up to `value_bytes` are taken under every key of up to 4 KiB, or up to a quarter of the room where
    /// [`max_bytes`](MemoryBackendBuilder::max_bytes) is small.
    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn on_eviction(&self, listener: EvictionListener) {
        self.store.on_eviction(listener);
    }
}
