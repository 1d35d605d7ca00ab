//! A look at what is stored, with no more ado.

use cache_core::{Coder, Error, Key};

use crate::Cache;
use crate::entry::Found;
use crate::event::Event;
use crate::see::Seen;

impl<C: Send + Sync + 'static> Cache<C> {
    /// What is stored under a key, fresh or stale, for adapters that have rules of their own on what a stale value is
    /// good for. Nothing is waited for but the store, nothing is loaded, and nobody is kept from loading.
    ///
    /// A stale value is there for as long as the longest of its windows, and not after an invalidation.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn peek<T>(&self, key: &Key) -> Result<Option<Found<T>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return Ok(None);
        }
        Ok(match self.core.look(key, &*self.coder).await? {
            Seen::Fresh(found, _) => {
                self.core.events.emit(&Event::Hit { key });
                Some(found)
            }
            // Whether it is of use is for the caller to say.
            Seen::Usable(found, _) => Some(found),
            Seen::Missing(_, stale) => stale,
            _ => None,
        })
    }
}
