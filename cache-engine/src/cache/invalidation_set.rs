//! A set of invalidations that is carried out together.

use std::borrow::Borrow;
use std::sync::Arc;

use cache_core::{Error, ErrorKind, Key};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::cache::handle::Cache;
use crate::cache::invalidate::Soft;
use crate::cache::key::IntoKey;
use crate::log::log_error;

/// A set of invalidations: keys, tags and namespaces, of one cache or several.
///
/// [`run`](Self::run) tries all of them, and carries them out even if its caller leaves. Create a set with
/// [`Cache::invalidation`], or with [`Soft::invalidation`] for soft invalidations.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cache_engine::Cache;
/// use cache_memory::MemoryBackend;
///
/// let cache = Cache::builder(MemoryBackend::default()).build();
/// let users = cache.with_namespace("users");
/// cache
///     .invalidation()
///     .add_key(users.key("42"))
///     .add_tag("user:42")
///     .add_namespace("lists")
///     .run()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is invalidated until it is run"]
pub struct Invalidation {
    /// The handle of what is added, and whether it is invalidated softly.
    cache: Cache<()>,
    soft: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    cache: Cache<()>,
    soft: bool,
    target: Target,
}

#[derive(Debug, Clone)]
enum Target {
    Key(Key),
    Tags(Vec<String>),
    Namespace(String),
    Everything,
}

impl<C> Cache<C> {
    /// Returns an empty set of invalidations of this cache.
    pub fn invalidation(&self) -> Invalidation {
        Invalidation::new(self, false)
    }
}

impl<C> Soft<'_, C> {
    /// Returns an empty set of soft invalidations of the cache.
    pub fn invalidation(self) -> Invalidation {
        Invalidation::new(self.cache(), true)
    }
}

impl Invalidation {
    fn new<C>(cache: &Cache<C>, soft: bool) -> Self {
        Self {
            cache: cache.with_coder(()),
            soft,
            parts: Vec::new(),
        }
    }

    /// Adds a key.
    pub fn add_key(mut self, key: impl IntoKey) -> Self {
        let key = key.into_key(self.cache.namespace()).borrow().clone();
        self.push(Target::Key(key));
        self
    }

    /// Adds a tag.
    pub fn add_tag(mut self, tag: impl Into<String>) -> Self {
        match self.parts.last_mut() {
            // Adjacent tags go to the store in one batch.
            Some(Part {
                cache,
                soft,
                target: Target::Tags(tags),
            }) if *soft == self.soft && Arc::ptr_eq(&cache.engine.shared, &self.cache.engine.shared) => {
                tags.push(tag.into());
            }
            _ => self.push(Target::Tags(vec![tag.into()])),
        }
        self
    }

    /// Adds a namespace, by its name.
    pub fn add_namespace(mut self, name: impl Into<String>) -> Self {
        self.push(Target::Namespace(name.into()));
        self
    }

    /// Adds everything below the cache's prefix.
    pub fn add_everything(mut self) -> Self {
        self.push(Target::Everything);
        self
    }

    /// Adds another set, which may be of another cache, and soft or hard.
    pub fn and(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self
    }

    /// Returns whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn push(&mut self, target: Target) {
        self.parts.push(Part {
            cache: self.cache.clone(),
            soft: self.soft,
            target,
        });
    }

    /// Carries out all parts. Each is tried, whatever the result of the others. Returns how many records were removed,
    /// if the stores report it.
    ///
    /// Dropping the future does not stop this. In a runtime, the rest runs in the background, and [`Cache::shutdown`]
    /// waits for it.
    ///
    /// # Errors
    /// The first failure.
    pub async fn run(self) -> Result<Option<u64>, Error> {
        let tasks = self.cache.engine.shared.tasks.clone();
        let mut work = Box::pin(carry_out(self.parts));
        // A store in this process completes at once.
        if let Some(result) = (&mut work).now_or_never() {
            return result;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => tasks
                .spawn_on(work.in_current_span(), &runtime)
                .await
                .unwrap_or_else(|_| {
                    Err(Error::new(
                        ErrorKind::Other,
                        "the runtime ended during the invalidation",
                    ))
                }),
            Err(_) => work.await,
        }
    }

    /// Carries out all parts in the background, and logs a failure. Outside of a runtime, only stores in this process
    /// are reached.
    pub fn run_in_background(self) {
        let tasks = self.cache.engine.shared.tasks.clone();
        let mut work = Box::pin(async move {
            if let Err(error) = carry_out(self.parts).await {
                log_error("an invalidation failed: outdated values may be found", Some(&error));
            }
        });
        if (&mut work).now_or_never().is_some() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(tasks.spawn_on(work.in_current_span(), &runtime)),
            Err(_) => log_error("an invalidation is pending: there is no runtime to carry it out", None),
        }
    }
}

async fn carry_out(parts: Vec<Part>) -> Result<Option<u64>, Error> {
    let mut removed = None;
    let mut result = Ok(());
    let mut rest = Rest(parts.into_iter());
    for part in rest.0.by_ref() {
        match part.carry_out().await {
            Ok(Some(count)) => removed = Some(removed.unwrap_or(0) + count),
            Ok(None) => {}
            Err(error) => result = result.and(Err(error)),
        }
    }
    result.map(|()| removed)
}

/// The parts that are still to be carried out. If it is dropped, as when the runtime ends, they are pending.
struct Rest(std::vec::IntoIter<Part>);

impl Drop for Rest {
    fn drop(&mut self) {
        for Part { cache, soft, target } in self.0.by_ref() {
            match target {
                Target::Key(key) => cache.leave_key(&key, soft),
                Target::Tags(tags) => cache.leave_tags(tags, soft),
                Target::Namespace(name) => cache.leave_scope(Some(&name), soft),
                Target::Everything => cache.leave_scope(None, soft),
            }
        }
    }
}

impl Part {
    async fn carry_out(self) -> Result<Option<u64>, Error> {
        let Self { cache, soft, target } = self;
        match target {
            Target::Key(key) if soft => cache.soft().invalidate(key).await.map(|()| None),
            Target::Key(key) => cache.delete(key).await.map(|existed| Some(existed.into())),
            Target::Tags(tags) if soft => cache.soft().invalidate_tags(tags).await.map(|()| None),
            Target::Tags(tags) => cache.invalidate_tags(tags).await.map(|()| None),
            Target::Namespace(name) if soft => cache.soft().clear(&name).await.map(|()| None),
            Target::Namespace(name) => cache.clear(&name).await,
            Target::Everything if soft => cache.soft().clear_all().await.map(|()| None),
            Target::Everything => cache.clear_all().await,
        }
    }
}
