//! The handle that users hold.

use std::sync::Arc;

use cache_core::{Backend, Error, Key, Limits, Record, SetOptions, SetOutcome, Value, Version, async_trait};

use crate::batch::READ_KEYS;
use crate::error::{NAME, SYSTEM_NAME};
use crate::item::MAX_VALUE_BYTES;
use crate::store::Store;

/// A store in a DynamoDB table.
///
/// Clones share the client. [`close`](Backend::close) closes all of them.
///
/// # Cancellation
/// You may drop a future at any time. Its request may have been carried out or not. Its connection is closed, so no
/// other call sees the answer. A batch may have been carried out in part.
#[derive(Debug, Clone)]
pub struct DynamoBackend {
    store: Arc<Store>,
}

impl DynamoBackend {
    pub(crate) fn over(store: Store) -> Self {
        Self { store: Arc::new(store) }
    }

    /// Creates the table if it does not exist, billed on demand, waits until it is ready, and enables its TTL on the
    /// attribute `ttl`. Returns whether this call created it.
    ///
    /// You may call it at each start and from several processes at once. It changes nothing but the TTL of an existing
    /// table.
    ///
    /// # Errors
    /// Fails with [`Configuration`](cache_core::ErrorKind::Configuration) if there is a table with another key or
    /// another TTL attribute, with [`Timeout`](cache_core::ErrorKind::Timeout) if the table is not ready within a
    /// minute, and with [`Auth`](cache_core::ErrorKind::Auth) without the [permissions](crate#permissions).
    ///
    /// # Cancellation
    /// If you drop the future, the table may exist without its TTL. The next call completes it.
    pub async fn create_table_if_missing(&self) -> Result<bool, Error> {
        let created = self.store.create_table_if_missing().await;
        created.map_err(|error| error.with_operation("create_table_if_missing"))
    }
}

#[async_trait]
impl Backend for DynamoBackend {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let record = self.store.get(key).await;
        record.map_err(|error| error.with_operation("get"))
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let outcome = self.store.set(key, value, options).await;
        outcome.map_err(|error| error.with_operation("set"))
    }

    /// If the answer was lost and the client repeated the request, it reports `false` for a record that it removed.
    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let removed = self.store.delete(key).await;
        removed.map_err(|error| error.with_operation("delete"))
    }

    /// If the answer was lost and the client repeated the request, it reports `false` for a record that it removed.
    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        let removed = self.store.delete_if(key, version).await;
        removed.map_err(|error| error.with_operation("delete_if"))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        let records = self.store.get_many(keys).await;
        records.map_err(|error| error.with_operation("get_many"))
    }

    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        let outcomes = self.store.set_many(entries).await;
        outcomes.map_err(|error| error.with_operation("set_many"))
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        let removed = self.store.delete_many(keys).await;
        removed.map_err(|error| error.with_operation("delete_many"))
    }

    /// Reads a key that no record has, which costs half a read unit.
    async fn ping(&self) -> Result<(), Error> {
        self.store.ping().await.map_err(|error| error.with_operation("ping"))
    }

    /// Drops the client. Its connections are closed with its last clone. Calls in flight finish.
    async fn close(&self) -> Result<(), Error> {
        self.store.close();
        Ok(())
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn system_name(&self) -> &'static str {
        SYSTEM_NAME
    }

    fn limits(&self) -> Limits {
        Limits::default()
            .with_value_bytes(MAX_VALUE_BYTES)
            .with_batch(READ_KEYS)
    }
}
