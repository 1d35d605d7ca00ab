//! The soft invalidation of one key.

use cache_core::{Error, Key, SetOptions, SetOutcome};

use crate::lease::protocol::Leases;
use crate::store::record;

impl Leases {
    /// Invalidates `key` softly: its value is kept, but no longer fresh. A load that is under way is fenced.
    pub(crate) async fn soften(&self, key: &Key) -> Result<(), Error> {
        let result = self.try_soften(key).await;
        self.tier.forget_near(key);
        result
    }

    async fn try_soften(&self, key: &Key) -> Result<(), Error> {
        loop {
            let Some(record) = self.tier.store.get(key).await? else {
                // Absent by this machine's clock, that is: another one's may still find a value, or a lease.
                self.tier.store.delete(key).await?;
                return Ok(());
            };
            let done = match record::softened(&record, key, self.tier.now()) {
                Some((value, left)) => {
                    let options = SetOptions::new(left).if_version(record.version);
                    matches!(self.tier.store.set(key, value, options).await?, SetOutcome::Stored(_))
                }
                None => self.tier.store.delete_if(key, record.version).await?,
            };
            if done {
                return Ok(());
            }
            // It was written just now, perhaps by a load that began before: seen, and done again.
        }
    }
}
