//! Invalidates keys, tags and namespaces, hard and [softly](Soft).

use std::borrow::Borrow;

use cache_core::{Error, Key, Namespace, Scope};

use crate::cache::collecting::collect;
use crate::cache::handle::Cache;
use crate::cache::invalidation_part::{self, Part};
use crate::cache::key::IntoKey;
use crate::event::Event;
use crate::tier::target::InvalidationTarget as Target;

impl<C> Cache<C> {
    /// Removes the record of a key. Returns whether there was one. A load that is under way is fenced, as by
    /// [`invalidate`](Self::invalidate). In the [scope](crate::Deferred::scope) of a transaction, the key is removed at
    /// once, and invalidated again after the commit.
    ///
    /// # Errors
    /// The store did not answer. The record may or may not be there.
    pub async fn delete<K: IntoKey>(&self, key: K) -> Result<bool, Error> {
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        self.collect(false, || invalidation_part::Target::Key(key.clone()));
        self.delete_key(key).await
    }

    /// Removes the record of a key at once, whatever scope the task runs in.
    pub(super) async fn delete_key(&self, key: &Key) -> Result<bool, Error> {
        let result = self.engine.shared.tier.delete(key).await;
        self.invalidated_key(key, false, result)
    }

    /// Invalidates a key softly at once, whatever scope the task runs in.
    pub(super) async fn soften_key(&self, key: &Key) -> Result<(), Error> {
        let result = self.engine.shared.tier.soften(key).await;
        self.invalidated_key(key, true, result)
    }

    /// Collects an invalidation, if the current task runs in the scope of a transaction. Returns whether it does.
    fn collect(&self, soft: bool, target: impl FnOnce() -> invalidation_part::Target) -> bool {
        collect(|| [Part::new(self, soft, target())])
    }

    /// As [`collect`](Self::collect), of several keys.
    fn collect_keys(&self, soft: bool, keys: &[Key]) -> bool {
        collect(|| {
            let targets = keys.iter().cloned().map(invalidation_part::Target::Key);
            targets.map(move |target| Part::new(self, soft, target))
        })
    }

    /// Invalidates a key. Once this has returned, no caller gets a value whose load began before, in any process on the
    /// same store. A load that is under way runs to its end, but its value goes only to the caller that started it.
    /// Callers that had joined it read again.
    ///
    /// In the [scope](crate::Deferred::scope) of a transaction, this and the other methods that invalidate or clear only
    /// collect what they are to do after the commit.
    ///
    /// # Errors
    /// The store did not answer, so other processes may still find the value. The invalidation is then
    /// [pending](Self::pending_invalidations).
    pub async fn invalidate<K: IntoKey>(&self, key: K) -> Result<(), Error> {
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        if self.collect(false, || invalidation_part::Target::Key(key.clone())) {
            return Ok(());
        }
        self.delete_key(key).await.map(drop)
    }

    /// Invalidates several keys in one batch, each as [`invalidate`](Self::invalidate) does.
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate). All of the keys are then [pending](Self::pending_invalidations), since some may
    /// have been invalidated and others not.
    pub async fn invalidate_many<K: IntoKey>(&self, keys: impl IntoIterator<Item = K>) -> Result<(), Error> {
        let keys = self.keys(keys);
        if self.collect_keys(false, &keys) {
            return Ok(());
        }
        let result = self.engine.shared.tier.delete_many(&keys).await;
        self.invalidated_keys(&keys, false, result)
    }

    fn keys<K: IntoKey>(&self, keys: impl IntoIterator<Item = K>) -> Vec<Key> {
        let owned = |key: K| key.into_key(&self.namespace).borrow().clone();
        keys.into_iter().map(owned).collect()
    }

    fn invalidated_keys(&self, keys: &[Key], soft: bool, result: Result<(), Error>) -> Result<(), Error> {
        for key in keys {
            self.engine.shared.flights.detach(key);
        }
        result?;
        for key in keys {
            self.engine.shared.events.emit(&Event::Invalidated { key, soft });
        }
        Ok(())
    }

    /// Invalidates every entry that carries `tag`, in all namespaces of this cache, as
    /// [`invalidate`](Self::invalidate) does for one key. Costs two small writes, however many entries there are.
    ///
    /// # Errors
    /// The store did not answer, so values may still be found.
    pub async fn invalidate_tag(&self, tag: impl AsRef<str>) -> Result<(), Error> {
        self.invalidate_tags([tag]).await
    }

    /// Invalidates several tags at once, like [`invalidate_tag`](Self::invalidate_tag).
    ///
    /// # Errors
    /// As [`invalidate_tag`](Self::invalidate_tag). Some of the tags may have been invalidated.
    pub async fn invalidate_tags<N: AsRef<str>>(&self, tags: impl IntoIterator<Item = N>) -> Result<(), Error> {
        self.end_or_collect_tags(tags, false).await
    }

    /// Clears the namespace `name`. Once this has returned, no caller finds a value of it, nor one whose load began
    /// before. Loads that are under way are fenced, as by [`invalidate`](Self::invalidate).
    ///
    /// If the store can enumerate its records, they are removed, and their number is returned. If it cannot, a single
    /// record is written that invalidates all entries, however many there are. The store drops them as they expire.
    ///
    /// # Errors
    /// The store did not answer, or not to the end. Some values may still be found.
    pub async fn clear(&self, name: &str) -> Result<Option<u64>, Error> {
        self.clear_or_collect(Some(name), false).await
    }

    /// Clears every namespace below the cache's prefix.
    ///
    /// # Errors
    /// As [`clear`](Self::clear).
    pub async fn clear_all(&self) -> Result<Option<u64>, Error> {
        self.clear_or_collect(None, false).await
    }

    /// Returns a view of this cache whose invalidations are soft: they end the freshness of values, but retain them for
    /// [`stale_while_revalidate`](crate::Policy::stale_while_revalidate) and
    /// [`stale_if_error`](crate::Policy::stale_if_error).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let pages = Cache::builder(MemoryBackend::default())
    ///     .stale_while_revalidate(Duration::from_secs(60))
    ///     .build();
    /// pages.set("start", "…".to_owned()).await?;
    ///
    /// pages.soft().invalidate("start").await?;
    /// // The next caller gets the old page at once, and one load brings the new one.
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn soft(&self) -> Soft<'_, C> {
        Soft { cache: self }
    }

    /// Returns how many invalidations the store has not carried out yet. They are retried until they succeed, also in
    /// the background. Meanwhile, what they concern counts as invalid in this process.
    #[must_use]
    pub fn pending_invalidations(&self) -> usize {
        self.engine.shared.tier.pending.count()
    }

    fn invalidated_key<R>(&self, key: &Key, soft: bool, result: Result<R, Error>) -> Result<R, Error> {
        // Callers that come from now on must not get a value that was loaded before now, whatever the store reported.
        self.engine.shared.flights.detach(key);
        let result = result?;
        self.engine.shared.events.emit(&Event::Invalidated { key, soft });
        Ok(result)
    }

    async fn end_or_collect_tags<N: AsRef<str>>(
        &self,
        tags: impl IntoIterator<Item = N>,
        soft: bool,
    ) -> Result<(), Error> {
        let tags: Vec<N> = tags.into_iter().collect();
        let owned = || tags.iter().map(|tag| tag.as_ref().to_owned()).collect();
        if self.collect(soft, || invalidation_part::Target::Tags(owned())) {
            return Ok(());
        }
        self.end_tags(&tags, soft).await
    }

    /// Invalidates tags at once, whatever scope the task runs in.
    pub(super) async fn end_tags<N: AsRef<str>>(&self, tags: &[N], soft: bool) -> Result<(), Error> {
        let tags: Vec<&str> = tags.iter().map(AsRef::as_ref).collect();
        let result = self.engine.shared.tier.invalidate_tags(&tags, soft).await;
        if result.is_err() {
            self.engine.shared.flights.doubt();
        }
        result?;
        for tag in tags {
            self.engine.shared.events.emit(&Event::TagInvalidated { tag, soft });
        }
        Ok(())
    }

    /// Leaves the invalidation of a key pending.
    pub(super) fn leave_key(&self, key: &Key, soft: bool) {
        let shared = &self.engine.shared;
        shared.tier.leave_pending(vec![Target::Key(key.clone())], soft);
        shared.flights.detach(key);
    }

    /// Leaves the invalidation of tags pending.
    pub(super) fn leave_tags(&self, tags: Vec<String>, soft: bool) {
        let shared = &self.engine.shared;
        let targets = tags.into_iter().map(|tag| Target::Tag(tag.into())).collect();
        shared.tier.leave_pending(targets, soft);
        shared.flights.doubt();
    }

    /// Leaves the clearing of a namespace, or of everything, pending.
    pub(super) fn leave_scope(&self, name: Option<&str>, soft: bool) {
        let shared = &self.engine.shared;
        let namespace = name.map(|name| shared.prefix.namespace(name));
        let (target, scope) = match namespace {
            Some(namespace) => (Target::Namespace(namespace.clone()), namespace.scope()),
            None => (Target::Everything, shared.prefix.scope()),
        };
        shared.tier.leave_pending(vec![target], soft);
        shared.flights.detach_scope(&scope);
    }

    async fn clear_or_collect(&self, name: Option<&str>, soft: bool) -> Result<Option<u64>, Error> {
        let target = || {
            name.map_or(invalidation_part::Target::Everything, |name| {
                invalidation_part::Target::Namespace(name.to_owned())
            })
        };
        if self.collect(soft, target) {
            return Ok(None);
        }
        self.clear_now(name, soft).await
    }

    /// Clears a namespace, or everything, at once, whatever scope the task runs in.
    pub(super) async fn clear_now(&self, name: Option<&str>, soft: bool) -> Result<Option<u64>, Error> {
        let shared = &self.engine.shared;
        let namespace = name.map(|name| shared.prefix.namespace(name));
        let result = if soft {
            shared.tier.clear_softly(namespace.as_ref()).await.map(|()| None)
        } else {
            shared.tier.clear(namespace.as_ref()).await
        };
        self.cleared(namespace.as_ref(), soft, result)
    }

    fn cleared<R>(&self, namespace: Option<&Namespace>, soft: bool, result: Result<R, Error>) -> Result<R, Error> {
        let shared = &self.engine.shared;
        let scope: Scope = namespace.map_or_else(|| shared.prefix.scope(), Namespace::scope);
        shared.flights.detach_scope(&scope);
        let result = result?;
        shared.events.cleared(namespace, &scope, soft);
        Ok(result)
    }
}

/// A view of a cache whose invalidations are soft; see [`Cache::soft`].
#[derive(Debug)]
pub struct Soft<'a, C> {
    cache: &'a Cache<C>,
}

impl<C> Clone for Soft<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Soft<'_, C> {}

impl<'a, C> Soft<'a, C> {
    pub(super) fn cache(self) -> &'a Cache<C> {
        self.cache
    }

    /// Invalidates a key softly. Its value is no longer fresh, and both of its windows begin now, unless they have
    /// already begun. A value without such windows is removed.
    ///
    /// # Errors
    /// The store did not answer, so the value may still be found fresh.
    pub async fn invalidate<K: IntoKey>(self, key: K) -> Result<(), Error> {
        let key = key.into_key(&self.cache.namespace);
        let key = key.borrow();
        if self.cache.collect(true, || invalidation_part::Target::Key(key.clone())) {
            return Ok(());
        }
        self.cache.soften_key(key).await
    }

    /// Invalidates several keys softly, side by side, each as [`invalidate`](Self::invalidate) does.
    ///
    /// # Errors
    /// The first failure. All of the keys are tried, and are then [pending](Cache::pending_invalidations), since some may
    /// have been invalidated and others not. They are also pending if the future is dropped.
    pub async fn invalidate_many<K: IntoKey>(self, keys: impl IntoIterator<Item = K>) -> Result<(), Error> {
        let keys = self.cache.keys(keys);
        if self.cache.collect_keys(true, &keys) {
            return Ok(());
        }
        let result = self.cache.engine.shared.tier.soften_many(&keys).await;
        self.cache.invalidated_keys(&keys, true, result)
    }

    /// Invalidates every entry that carries `tag` softly. The windows are counted from now by this machine's clock.
    ///
    /// # Errors
    /// As [`Cache::invalidate_tag`].
    pub async fn invalidate_tag(self, tag: impl AsRef<str>) -> Result<(), Error> {
        self.invalidate_tags([tag]).await
    }

    /// Invalidates several tags at once, like [`invalidate_tag`](Self::invalidate_tag).
    ///
    /// # Errors
    /// As [`Cache::invalidate_tags`].
    pub async fn invalidate_tags<N: AsRef<str>>(self, tags: impl IntoIterator<Item = N>) -> Result<(), Error> {
        self.cache.end_or_collect_tags(tags, true).await
    }

    /// Clears the namespace `name` softly.
    ///
    /// # Errors
    /// [`Rejected`](cache_core::ErrorKind::Rejected) where namespaces are not cleared by a tag; see
    /// [`CacheBuilder::tag_namespaces`](crate::CacheBuilder::tag_namespaces). Otherwise as [`Cache::clear`].
    pub async fn clear(self, name: &str) -> Result<(), Error> {
        self.cache.clear_or_collect(Some(name), true).await.map(drop)
    }

    /// Clears every namespace below the cache's prefix softly.
    ///
    /// # Errors
    /// As [`clear`](Self::clear).
    pub async fn clear_all(self) -> Result<(), Error> {
        self.cache.clear_or_collect(None, true).await.map(drop)
    }
}
