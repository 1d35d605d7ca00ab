//! The handle that users hold.

use std::fmt;
use std::sync::Arc;

use cache_core::{
    Backend, Capabilities, Error, EvictionListener, Key, Limits, Record, Scope, SetOptions, SetOutcome, Usage, Value,
    Version, View, async_trait,
};

use crate::entry::ENTRY_OVERHEAD;
use crate::stats::Stats;
use crate::store::{NAME, Store};
use crate::sweeper::Sweep;

/// A store in the memory of this process. A clone is cheap and shares the records.
///
/// The [crate's documentation](crate) lists what it guarantees.
#[derive(Clone)]
pub struct MemoryBackend {
    store: Arc<Store>,
}

impl MemoryBackend {
    /// The bytes that each entry counts in addition to the allocations of its key and its value: its slot in the table,
    /// its place in the index, and the ghosts of evicted keys.
    pub const ENTRY_OVERHEAD: u64 = ENTRY_OVERHEAD;

    pub(crate) fn new(store: Store) -> Self {
        Self { store: Arc::new(store) }
    }

    /// Returns the number of entries, including expired ones that have not been freed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stats().entries
    }

    /// Returns whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the total weight of the entries in bytes: the allocations of their keys and values as the allocator
    /// rounds them up, and [`ENTRY_OVERHEAD`](Self::ENTRY_OVERHEAD) for each.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.stats().bytes
    }

    /// Returns the current size of the store, and how many records were evicted and expired.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// Frees all expired records, and returns how many there were.
    ///
    /// You need not call it if the background task runs. It is for tests that move the clock, and for programs without
    /// a runtime.
    #[expect(clippy::must_use_candidate, reason = "freeing is the point, the number is not")]
    pub fn purge_expired(&self) -> usize {
        self.store.purge_expired()
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

    fn get_now(&self, key: &Key) -> Option<Result<Option<Record>, Error>> {
        Some(self.store.get(key))
    }

    fn view(&self, key: &Key, see: &mut dyn FnMut(View<'_>) -> bool) {
        self.store.view(key, see);
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
        // An empty batch on a closed store is an error too.
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

    /// Visits every entry, so it takes time in proportion to the number of entries. Reads go on meanwhile; writes wait
    /// for the shard that is being visited. When it returns, every record that existed when the call began is gone, and
    /// a lease that existed then cannot be filled. If you drop the future, some of the records have been removed.
    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.store.clear(scope).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.store.check_open("ping")
    }

    /// Drops all records at once, for all clones of the handle.
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

    /// Returns the largest value as `value_bytes`. It fits under every key of up to 4 KiB, or up to a quarter of a
    /// shard if [`max_bytes`](crate::MemoryBackendBuilder::max_bytes) is small.
    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn usage(&self) -> Option<Usage> {
        let stats = self.stats();
        Some(Usage::new(stats.entries as u64, stats.bytes))
    }

    fn on_eviction(&self, listener: EvictionListener) {
        self.store.on_eviction(listener);
    }
}
