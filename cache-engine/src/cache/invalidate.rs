//! Invalidating keys, tags and namespaces.

use std::borrow::Borrow;

use cache_core::{Error, ErrorKind, Namespace, Scope};

use crate::cache::handle::Cache;
use crate::cache::key::IntoKey;
use crate::event::Event;

impl<C> Cache<C> {
    /// Removes the record of a key, and tells whether there was one. A load that is under way is fenced, as by
    /// [`invalidate`](Self::invalidate).
    ///
    /// # Errors
    /// The store could not be asked; the record may or may not be there.
    pub async fn delete<K: IntoKey>(&self, key: K) -> Result<bool, Error> {
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        let result = self.engine.shared.tier.store.delete(key).await;
        self.engine.shared.tier.forget_near(key);
        // Whoever asks from now on must not be given what was loaded before now, whatever the store said.
        self.engine.shared.flights.detach(key);
        let existed = result?;
        self.engine.shared.events.emit(&Event::Invalidated { key });
        Ok(existed)
    }

    /// Invalidates a key: after this has returned, nobody who asks is given a value whose load began before, in any
    /// process on the same store. A load that is under way ends, and its value goes to the caller who started it and
    /// to nobody else; callers who had joined it look again.
    ///
    /// # Errors
    /// The store could not be asked, so other processes may still find the value.
    pub async fn invalidate<K: IntoKey>(&self, key: K) -> Result<(), Error> {
        self.delete(key).await.map(drop)
    }

    /// As [`invalidate`](Self::invalidate), and keeps the value for
    /// [`stale_while_revalidate`](Policy::stale_while_revalidate) and [`stale_if_error`](Policy::stale_if_error): it is
    /// no longer fresh, and both of its windows begin now, unless they have begun before. A value without such windows is
    /// removed.
    ///
    /// # Errors
    /// The store could not be asked, so the value may still be found fresh.
    pub async fn invalidate_soft<K: IntoKey>(&self, key: K) -> Result<(), Error> {
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        let result = self.engine.shared.leases.soften(key).await;
        self.engine.shared.flights.detach(key);
        result?;
        self.engine.shared.events.emit(&Event::Invalidated { key });
        Ok(())
    }

    /// Invalidates every entry that carries `tag`, in whatever namespace of this cache, as
    /// [`invalidate`](Self::invalidate) does for one key: at the cost of two small writes, however many there are.
    ///
    /// # Errors
    /// The store could not be asked, so values may still be found.
    pub async fn invalidate_tag(&self, tag: impl AsRef<str>) -> Result<(), Error> {
        self.invalidate_tags([tag]).await
    }

    /// As [`invalidate_tag`](Self::invalidate_tag), for several tags at once.
    ///
    /// # Errors
    /// As [`invalidate_tag`](Self::invalidate_tag); any of the tags may have been invalidated.
    pub async fn invalidate_tags<N: AsRef<str>>(&self, tags: impl IntoIterator<Item = N>) -> Result<(), Error> {
        self.end_tags(tags, false).await
    }

    /// As [`invalidate_tag`](Self::invalidate_tag), and keeps the values for
    /// [`stale_while_revalidate`](Policy::stale_while_revalidate) and [`stale_if_error`](Policy::stale_if_error), as
    /// [`invalidate_soft`](Self::invalidate_soft) does. The windows are counted from now by this machine's clock.
    ///
    /// # Errors
    /// As [`invalidate_tag`](Self::invalidate_tag).
    pub async fn invalidate_tag_soft(&self, tag: impl AsRef<str>) -> Result<(), Error> {
        self.invalidate_tags_soft([tag]).await
    }

    /// As [`invalidate_tag_soft`](Self::invalidate_tag_soft), for several tags at once.
    ///
    /// # Errors
    /// As [`invalidate_tags`](Self::invalidate_tags).
    pub async fn invalidate_tags_soft<N: AsRef<str>>(&self, tags: impl IntoIterator<Item = N>) -> Result<(), Error> {
        self.end_tags(tags, true).await
    }

    async fn end_tags<N: AsRef<str>>(&self, tags: impl IntoIterator<Item = N>, soft: bool) -> Result<(), Error> {
        let tags: Vec<N> = tags.into_iter().collect();
        self.engine.shared.tier.tags.invalidate(tags.iter(), soft).await?;
        for tag in &tags {
            self.engine.shared.events.emit(&Event::TagInvalidated {
                tag: tag.as_ref(),
                soft,
            });
        }
        Ok(())
    }

    /// Clears the namespace `name`: after this has returned, nobody finds a value of it, nor one whose load began
    /// before. Loads that are under way are fenced, as by [`invalidate`](Self::invalidate).
    ///
    /// Where the store can enumerate its records, they are removed, and the answer is how many there were. Where it
    /// cannot, one record is written, whatever the number of entries, that puts all of them out of use; the store
    /// drops them as they expire.
    ///
    /// # Errors
    /// Something failed, and some values may still be found.
    pub async fn clear(&self, name: &str) -> Result<Option<u64>, Error> {
        let namespace = self.engine.shared.prefix.namespace(name);
        self.clear_scope(&namespace.scope(), Some(&namespace)).await
    }

    /// As [`clear`](Self::clear), and keeps the values for
    /// [`stale_while_revalidate`](Policy::stale_while_revalidate) and [`stale_if_error`](Policy::stale_if_error).
    ///
    /// # Errors
    /// [`Rejected`](cache_core::ErrorKind::Rejected) unless namespaces are cleared by a tag; see
    /// [`CacheBuilder::tag_namespaces`]. Otherwise as [`clear`](Self::clear).
    pub async fn clear_soft(&self, name: &str) -> Result<(), Error> {
        let namespace = self.engine.shared.prefix.namespace(name);
        self.soften_scope(&namespace.scope(), Some(&namespace)).await
    }

    /// Clears every namespace below the cache's prefix.
    ///
    /// # Errors
    /// As [`clear`](Self::clear).
    pub async fn clear_all(&self) -> Result<Option<u64>, Error> {
        let prefix = &self.engine.shared.prefix;
        self.clear_scope(&prefix.scope(), None).await
    }

    /// As [`clear_soft`](Self::clear_soft), for every namespace below the cache's prefix.
    ///
    /// # Errors
    /// As [`clear_soft`](Self::clear_soft).
    pub async fn clear_all_soft(&self) -> Result<(), Error> {
        self.soften_scope(&self.engine.shared.prefix.scope(), None).await
    }

    async fn soften_scope(&self, scope: &Scope, namespace: Option<&Namespace>) -> Result<(), Error> {
        let tags = &self.engine.shared.tier.tags;
        if !tags.clears_by_epoch() {
            let message = format!(
                "{:?} cannot be cleared softly, since the store enumerates its records to clear them: build the cache \
                 with `.tag_namespaces(true)`",
                scope.as_str()
            );
            return Err(Error::new(ErrorKind::Rejected, message).with_operation("clear"));
        }
        let result = tags.end_epoch(namespace, true).await;
        self.engine.shared.flights.detach_scope(scope);
        self.forget_near_all(scope).await;
        result?;
        self.engine.shared.events.emit(&Event::Cleared { scope });
        Ok(())
    }

    async fn forget_near_all(&self, scope: &Scope) {
        if let Some(near) = &self.engine.shared.tier.near {
            near.forget_all(scope).await;
        }
    }

    async fn clear_scope(&self, scope: &Scope, namespace: Option<&Namespace>) -> Result<Option<u64>, Error> {
        let tags = &self.engine.shared.tier.tags;
        let result = if tags.clears_by_epoch() {
            tags.end_epoch(namespace, false).await.map(|()| None)
        } else {
            let removed = self.engine.shared.tier.store.clear(scope).await;
            tags.forget_all(scope);
            removed.map(Some)
        };
        self.engine.shared.flights.detach_scope(scope);
        self.forget_near_all(scope).await;
        let removed = result?;
        self.engine.shared.events.emit(&Event::Cleared { scope });
        Ok(removed)
    }
}
