//! Invalidating at the storage tier: keys, tags, namespaces, hard and soft.

use cache_core::{Error, ErrorKind, Key, Namespace, Prefix, SetOptions, SetOutcome};

use crate::store::record;
use crate::tier::storage::Tier;

impl Tier {
    /// Removes the record of a key, and tells whether there was one.
    pub(crate) async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let result = self.store.delete(key).await;
        self.forget_near(key);
        result
    }

    /// Invalidates a key softly: its value is kept, but no longer fresh. The fence of a load that runs is broken.
    pub(crate) async fn soften(&self, key: &Key) -> Result<(), Error> {
        let result = self.try_soften(key).await;
        self.forget_near(key);
        result
    }

    async fn try_soften(&self, key: &Key) -> Result<(), Error> {
        loop {
            let Some(record) = self.store.get(key).await? else {
                // Absent by this machine's clock, that is: another one's may still find a value, or a lease.
                self.store.delete(key).await?;
                return Ok(());
            };
            let done = match record::softened(&record, key, self.now()) {
                Some((value, left)) => {
                    let options = SetOptions::new(left).if_version(record.version);
                    matches!(self.store.set(key, value, options).await?, SetOutcome::Stored(_))
                }
                None => self.store.delete_if(key, record.version).await?,
            };
            if done {
                return Ok(());
            }
            // It was written just now, perhaps by a load that began before: seen, and done again.
        }
    }

    /// Clears a namespace, or everything below the prefix. Returns how many records were removed, where the store can
    /// tell.
    pub(crate) async fn clear(&self, prefix: &Prefix, namespace: Option<&Namespace>) -> Result<Option<u64>, Error> {
        let scope = namespace.map_or_else(|| prefix.scope(), Namespace::scope);
        let result = if self.tags.clears_by_epoch() {
            self.tags.end_epoch(namespace, false).await.map(|()| None)
        } else {
            let removed = self.store.clear(&scope).await;
            self.tags.forget_all(&scope);
            removed.map(Some)
        };
        self.forget_near_all(&scope).await;
        result
    }

    /// Clears a namespace, or everything below the prefix, softly.
    pub(crate) async fn clear_softly(&self, prefix: &Prefix, namespace: Option<&Namespace>) -> Result<(), Error> {
        let scope = namespace.map_or_else(|| prefix.scope(), Namespace::scope);
        if !self.tags.clears_by_epoch() {
            let message = format!(
                "{:?} cannot be cleared softly, since the store enumerates its records to clear them: build the cache \
                 with `.tag_namespaces(true)`",
                scope.as_str()
            );
            return Err(Error::new(ErrorKind::Rejected, message).with_operation("clear"));
        }
        let result = self.tags.end_epoch(namespace, true).await;
        self.forget_near_all(&scope).await;
        result
    }
}
