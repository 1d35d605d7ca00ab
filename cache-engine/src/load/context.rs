//! What a loader receives, and what it returns.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Key, OptionalDuration};

use crate::load::policy::Policy;
use crate::tags::scope::Tagger;

/// Describes a load to its loader.
#[derive(Debug)]
pub struct Load<T> {
    key: Key,
    stale: Option<Arc<T>>,
    tagger: Tagger,
}

impl<T> Load<T> {
    pub(crate) fn new(key: Key, stale: Option<Arc<T>>, tagger: Tagger) -> Self {
        Self { key, stale, tagger }
    }

    /// Takes a snapshot of `tags`, and then runs `read`, which reads the data that they cover; see [`Tagger::tagged`].
    pub async fn tagged<N, R, Fut>(&self, tags: impl IntoIterator<Item = N>, read: R) -> Fut::Output
    where
        N: AsRef<str>,
        R: FnOnce() -> Fut,
        Fut: Future,
    {
        self.tagger.tagged(tags, read).await
    }

    /// Returns the tagger of the value, for functions that the loader calls.
    #[must_use]
    pub fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// Returns the key that is loaded.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the stale value that the load replaces, if there is one.
    ///
    /// Ask the source whether the value has changed, and return [`Stale::not_modified`] if it has not.
    #[must_use]
    pub fn stale(&self) -> Option<Stale<T>> {
        self.stale.as_ref().map(|value| Stale(Arc::clone(value)))
    }
}

/// A stale value that a load replaces.
#[derive(Debug)]
pub struct Stale<T>(Arc<T>);

impl<T> Stale<T> {
    /// Returns the stale value.
    #[must_use]
    pub fn value(&self) -> &Arc<T> {
        &self.0
    }

    /// Returns the answer that the value has not changed. It is stored again, and becomes fresh.
    pub fn not_modified(self) -> Loaded<T> {
        Loaded::of(Some(self.0))
    }
}

/// The result of a loader: a value, or that there is none, and how to store it.
///
/// ```
/// use std::time::Duration;
/// use cache_engine::Loaded;
///
/// let loaded = Loaded::new("token".to_owned()).with_ttl(Duration::from_secs(30));
/// # let _ = loaded;
/// ```
#[derive(Debug)]
#[must_use]
pub struct Loaded<T> {
    pub(crate) value: Option<Arc<T>>,
    pub(crate) store: bool,
    ttl: Option<Option<Duration>>,
    stale_while_revalidate: Option<Duration>,
    stale_if_error: Option<Duration>,
}

impl<T> Loaded<T> {
    /// Creates the answer `value`.
    pub fn new(value: T) -> Self {
        Self::of(Some(Arc::new(value)))
    }

    /// Creates the answer `value`, which is already in an `Arc`.
    pub fn shared(value: Arc<T>) -> Self {
        Self::of(Some(value))
    }

    /// Creates the answer that there is no value. It is remembered for
    /// [`Policy::negative_ttl`](crate::Policy::negative_ttl), or for the TTL that is set here.
    pub fn absent() -> Self {
        Self::of(None)
    }

    fn of(value: Option<Arc<T>>) -> Self {
        Self {
            value,
            store: true,
            ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
        }
    }

    /// Sets a TTL to use instead of the policy's. `None` means for ever.
    pub fn with_ttl(mut self, ttl: impl OptionalDuration) -> Self {
        self.ttl = Some(ttl.into_option());
        self
    }

    /// Sets a [window](crate::Policy::stale_while_revalidate) to use instead of the policy's.
    pub fn with_stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = Some(window);
        self
    }

    /// Sets a [window](crate::Policy::stale_if_error) to use instead of the policy's.
    pub fn with_stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = Some(window);
        self
    }

    /// Answers the callers that wait for the load, but does not store the value.
    pub fn do_not_store(mut self) -> Self {
        self.store = false;
        self
    }

    /// Returns the policy under which the value is stored.
    pub(crate) fn policy(&self, policy: &Policy) -> Policy {
        let mut own = *policy;
        match (self.ttl, &self.value) {
            (Some(ttl), Some(_)) => own.ttl = ttl,
            (Some(ttl), None) => own.negative_ttl = Some(ttl.unwrap_or(Duration::MAX)),
            (None, _) => {}
        }
        own.stale_while_revalidate = self.stale_while_revalidate.unwrap_or(own.stale_while_revalidate);
        own.stale_if_error = self.stale_if_error.unwrap_or(own.stale_if_error);
        own
    }
}

/// What a loader returns for several ids: for each a result with how to store it, or an error. An id without an entry has
/// no value, as by [`Loaded::absent`].
pub type LoadedMany<K, T, E> = HashMap<K, Result<Loaded<T>, E>>;

impl<T> From<T> for Loaded<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
