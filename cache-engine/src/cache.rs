//! The handle.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cache_core::{
    Backend, Coder, Error, ErrorKind, FunctionCall, Json, Key, KeyName, Namespace, Scope, SetOptions, SetOutcome,
    Timestamp,
};

use crate::builder::CacheBuilder;
use crate::core::Core;
use crate::entry::Found;
use crate::event::Event;
use crate::into_key::IntoKey;
use crate::policy::Policy;
use crate::see::{Glimpse, Seen};
use crate::tagging::Declared;

/// A cache: one policy engine over a backend.
///
/// Clones are cheap and share everything; handles made by [`with_namespace`](Self::with_namespace),
/// [`with_policy`](Self::with_policy) and their kin share everything but what they are named after. Two caches that
/// were built separately never see each other, unless they share a store and a prefix.
///
/// # Errors and outages
///
/// The methods that load never fail because of the store: while it is out of reach, values are loaded, shared with
/// those who wait, and not stored. The plain operations ([`get`](Self::get), [`set`](Self::set),
/// [`invalidate`](Self::invalidate), …) report what the store reports.
pub struct Cache<C = Json> {
    pub(crate) core: Arc<Core>,
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) policy: Policy,
    /// What entries that are stored through this handle depend on.
    pub(crate) declared: Declared,
    pub(crate) coder: Arc<C>,
}

impl Cache {
    /// Starts to build a cache over `backend`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let cache = Cache::builder(MemoryBackend::default())
    ///     .prefix("shop")
    ///     .ttl(Duration::from_secs(60))
    ///     .stale_while_revalidate(Duration::from_secs(10))
    ///     .build();
    /// # let _ = cache;
    /// ```
    pub fn builder(backend: impl Backend) -> CacheBuilder {
        CacheBuilder::new(Arc::new(backend))
    }

    /// As [`builder`](Self::builder), over a backend that is shared already.
    pub fn builder_shared(backend: Arc<dyn Backend>) -> CacheBuilder {
        CacheBuilder::new(backend)
    }
}

impl<C> Cache<C> {
    /// A handle whose names are in the namespace `name`.
    #[must_use]
    pub fn with_namespace(&self, name: &str) -> Self {
        Self {
            namespace: Arc::new(self.core.prefix.namespace(name)),
            ..self.clone()
        }
    }

    /// A handle with another policy.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self { policy, ..self.clone() }
    }

    /// A handle under whose policy a value is fresh for `ttl`; `None` is for ever.
    #[must_use]
    pub fn with_ttl(&self, ttl: impl Into<Option<Duration>>) -> Self {
        self.with_policy(self.policy.with_ttl(ttl))
    }

    /// A handle with another coder.
    #[must_use]
    pub fn with_coder<D>(&self, coder: D) -> Cache<D> {
        Cache {
            core: Arc::clone(&self.core),
            namespace: Arc::clone(&self.namespace),
            policy: self.policy,
            declared: self.declared.clone(),
            coder: Arc::new(coder),
        }
    }

    /// A handle whose entries carry these tags, beside those of this handle: [`invalidate_tag`](Self::invalidate_tag)
    /// invalidates them. Tags belong to the whole cache, whatever the namespace. Loads capture them before they begin,
    /// so that an invalidation during the load is not missed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::convert::Infallible;
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let cache = Cache::builder(MemoryBackend::default()).build();
    /// let profile = cache.with_namespace("profiles").with_tags(["user:42"]);
    /// profile.get_or_load("42", || async { Ok::<_, Infallible>("Ada".to_owned()) }).await?;
    ///
    /// cache.invalidate_tag("user:42").await?;
    /// assert!(profile.get::<String>("42").await?.is_none());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_tags<N: AsRef<str>>(&self, tags: impl IntoIterator<Item = N>) -> Self {
        Self {
            declared: self.declared.with(tags),
            ..self.clone()
        }
    }

    /// A handle whose loads may get tags of which nobody knew before they were over, by
    /// [`Fill::add_late_tags`](crate::Fill::add_late_tags). That costs them one more record to read when they begin.
    #[must_use]
    pub fn with_late_tags(&self, late: bool) -> Self {
        let mut declared = self.declared.clone();
        declared.late = late;
        Self {
            declared,
            ..self.clone()
        }
    }

    /// The policy of this handle.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The coder of this handle.
    #[must_use]
    pub fn coder(&self) -> &C {
        &self.coder
    }

    /// The namespace of this handle.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The whole key of `name` in this handle's namespace.
    #[must_use]
    pub fn key(&self, name: impl Into<KeyName>) -> Key {
        self.namespace.key(name)
    }

    /// The name of a function's call, by the cache's [key builder](CacheBuilder::key_builder).
    ///
    /// # Errors
    /// The builder has no name for the call.
    pub fn call_name(&self, call: &FunctionCall<'_>) -> Result<KeyName, Error> {
        self.core.call_keys.build(call)
    }

    /// The store, for what the cache has no words for.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        self.core.fences.store.backend()
    }

    /// The time by the cache's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.core.fences.now()
    }

    /// Whether the cache is switched on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.core.is_enabled()
    }

    /// Switches the cache, all of its handles, on or off at run time. While it is off, nothing is read, stored or
    /// coalesced: every load runs. Deleting, invalidating and clearing work as ever, so that nothing outdated is found
    /// when it is on again.
    pub fn set_enabled(&self, enabled: bool) {
        self.core.enabled.store(enabled, Ordering::Relaxed);
    }

    /// How many loads of this process are under way, refreshes included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.core.flights.len()
    }

    /// Removes the record of a key, and tells whether there was one. A load that is under way is fenced, as by
    /// [`invalidate`](Self::invalidate).
    ///
    /// # Errors
    /// The store could not be asked; the record may or may not be there.
    pub async fn delete<K: IntoKey>(&self, key: K) -> Result<bool, Error> {
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        let result = self.core.fences.store.delete(key).await;
        self.core.fences.forget_near(key);
        // Whoever asks from now on must not be given what was loaded before now, whatever the store said.
        self.core.flights.detach(key);
        let existed = result?;
        self.core.events.emit(&Event::Invalidated { key });
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
        let result = self.core.fences.soften(key).await;
        self.core.flights.detach(key);
        result?;
        self.core.events.emit(&Event::Invalidated { key });
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
        self.core.fences.tagging.invalidate(tags.iter(), soft).await?;
        for tag in &tags {
            self.core.events.emit(&Event::TagInvalidated {
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
        let namespace = self.core.prefix.namespace(name);
        self.clear_scope(&namespace.scope(), Some(&namespace)).await
    }

    /// As [`clear`](Self::clear), and keeps the values for
    /// [`stale_while_revalidate`](Policy::stale_while_revalidate) and [`stale_if_error`](Policy::stale_if_error).
    ///
    /// # Errors
    /// [`Rejected`](cache_core::ErrorKind::Rejected) unless namespaces are cleared by a tag; see
    /// [`CacheBuilder::tag_namespaces`]. Otherwise as [`clear`](Self::clear).
    pub async fn clear_soft(&self, name: &str) -> Result<(), Error> {
        let namespace = self.core.prefix.namespace(name);
        self.soften_scope(&namespace.scope(), Some(&namespace)).await
    }

    /// Clears every namespace below the cache's prefix.
    ///
    /// # Errors
    /// As [`clear`](Self::clear).
    pub async fn clear_all(&self) -> Result<Option<u64>, Error> {
        let prefix = &self.core.prefix;
        self.clear_scope(&prefix.scope(), None).await
    }

    /// As [`clear_soft`](Self::clear_soft), for every namespace below the cache's prefix.
    ///
    /// # Errors
    /// As [`clear_soft`](Self::clear_soft).
    pub async fn clear_all_soft(&self) -> Result<(), Error> {
        self.soften_scope(&self.core.prefix.scope(), None).await
    }

    async fn soften_scope(&self, scope: &Scope, namespace: Option<&Namespace>) -> Result<(), Error> {
        let tagging = &self.core.fences.tagging;
        if !tagging.clears_by_epoch() {
            let message = format!(
                "{:?} cannot be cleared softly, since the store enumerates its records to clear them: build the cache \
                 with `.tag_namespaces(true)`",
                scope.as_str()
            );
            return Err(Error::new(ErrorKind::Rejected, message).with_operation("clear"));
        }
        let result = tagging.end_epoch(namespace, true).await;
        self.core.flights.detach_scope(scope);
        self.forget_near_all(scope).await;
        result?;
        self.core.events.emit(&Event::Cleared { scope });
        Ok(())
    }

    async fn forget_near_all(&self, scope: &Scope) {
        if let Some(near) = &self.core.fences.near {
            near.forget_all(scope).await;
        }
    }

    async fn clear_scope(&self, scope: &Scope, namespace: Option<&Namespace>) -> Result<Option<u64>, Error> {
        let tagging = &self.core.fences.tagging;
        let result = if tagging.clears_by_epoch() {
            tagging.end_epoch(namespace, false).await.map(|()| None)
        } else {
            let removed = self.core.fences.store.clear(scope).await;
            tagging.forget_all(scope);
            removed.map(Some)
        };
        self.core.flights.detach_scope(scope);
        self.forget_near_all(scope).await;
        let removed = result?;
        self.core.events.emit(&Event::Cleared { scope });
        Ok(removed)
    }

    /// Waits until all loads and refreshes that run in the background have ended, and starts no refresh from now on.
    ///
    /// The store is not closed, since others may use it; see [`Backend::close`]. Dropping the future only stops the
    /// waiting.
    pub async fn shutdown(&self) {
        self.core.tasks.close();
        self.core.tasks.wait().await;
    }
}

impl<C> Cache<C> {
    /// The fresh value of a key.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn get<T>(&self, key: impl IntoKey) -> Result<Option<Arc<T>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return Ok(None);
        }
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        match self.core.glimpse(key, &*self.coder).await? {
            Glimpse::Fresh(value) => {
                self.core.events.emit(&Event::Hit { key });
                Ok(Some(value))
            }
            Glimpse::Other(seen) => Ok(self.fresh(key, seen)),
        }
    }

    /// The fresh values of several keys, in their order, in one batch.
    ///
    /// # Errors
    /// The store could not be asked; one failure fails the batch.
    pub async fn get_many<T, K>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Arc<T>>>, Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
        K: IntoKey,
    {
        let keys: Vec<Key> = keys
            .into_iter()
            .map(|key| key.into_key(&self.namespace).borrow().clone())
            .collect();
        if !self.is_enabled() || keys.is_empty() {
            return Ok(vec![None; keys.len()]);
        }
        let seen = self.core.look_many(&keys, &*self.coder).await?;
        let values = keys.iter().zip(seen);
        Ok(values.map(|(key, seen)| self.fresh(key, seen)).collect())
    }

    fn fresh<T>(&self, key: &Key, seen: Seen<T>) -> Option<Arc<T>> {
        if let Seen::Fresh(found, _) = seen {
            self.core.events.emit(&Event::Hit { key });
            Some(found.value)
        } else {
            self.core.events.emit(&Event::Miss { key });
            None
        }
    }

    /// Stores a value under this handle's policy, over whatever was there.
    ///
    /// A load of the key that is under way is fenced: its value does not replace this one.
    ///
    /// The [tags](Self::with_tags) of this handle are captured now. If the value was read a while ago, and one of them
    /// may have been invalidated since, use [`refresh`](Self::refresh), which captures them before it reads.
    ///
    /// # Errors
    /// The store could not be asked, or refused; or the value has no encoding.
    pub async fn set<T>(&self, key: impl IntoKey, value: T) -> Result<(), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.set_shared(key, Arc::new(value)).await
    }

    /// As [`set`](Self::set), for a value that is shared already.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn set_shared<T>(&self, key: impl IntoKey, value: Arc<T>) -> Result<(), Error>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if !self.is_enabled() {
            return Ok(());
        }
        let key = key.into_key(&self.namespace);
        let key = key.borrow();
        let windows = self.policy.windows();
        let fences = &self.core.fences;
        let mark = fences.mark(key);
        let captured = fences.capture(key, &self.declared, None).await?;
        let encoded = fences
            .writer(&captured.tags)
            .value(key, &value, &*self.coder, windows)?;
        let weight = encoded.weight();
        let result = fences.store.set(key, encoded, SetOptions::new(windows.total())).await;
        self.core.flights.detach(key);
        match (result, mark) {
            (Ok(SetOutcome::Stored(version)), Some(mark)) => {
                let found = Found {
                    value,
                    created: self.now(),
                    windows,
                    tags: captured.tags,
                    version: Some(version),
                };
                fences.keep_own_near(key, &found, version, weight, mark);
            }
            (result, _) => {
                fences.forget_near(key);
                // Written over whatever was there, so never refused.
                let _ = result?;
            }
        }
        self.core.events.emit(&Event::Stored { key });
        Ok(())
    }
}

impl<C> Clone for Cache<C> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            namespace: Arc::clone(&self.namespace),
            policy: self.policy,
            declared: self.declared.clone(),
            coder: Arc::clone(&self.coder),
        }
    }
}

impl<C> fmt::Debug for Cache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("backend", self.backend())
            .field("namespace", &self.namespace)
            .field("policy", &self.policy)
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}
