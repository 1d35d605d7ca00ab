//! A set of invalidations that is carried out together.

use std::borrow::Borrow;
use std::time::Duration;

use cache_core::{Error, ErrorKind};
use futures_util::FutureExt;
use tokio::time::sleep;
use tracing::Span;

use crate::cache::collecting::Collected;
use crate::cache::handle::Cache;
use crate::cache::invalidate::Soft;
use crate::cache::invalidation_part::{Part, Target};
use crate::cache::key::IntoKey;
use crate::event::Events;
use crate::log::log_error;
use crate::tasks::Tasks;
use crate::trace::load::{RunsFor, invalidation};
use crate::trace::task;

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
        self.push(Target::Tags(vec![tag.into()]));
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
        for part in other.parts {
            part.add_to(&mut self.parts);
        }
        self
    }

    /// Returns whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn push(&mut self, target: Target) {
        Part::new(&self.cache, self.soft, target).add_to(&mut self.parts);
    }

    pub(super) fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    pub(super) fn events(&self) -> &Events {
        &self.cache.engine.shared.events
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.cache.engine.shared.tasks
    }

    /// Carries out all parts. Each is tried, whatever the result of the others. Returns how many records were removed,
    /// if the stores report it.
    ///
    /// Dropping the future does not stop this. In a runtime, the rest runs in the background, and [`Cache::shutdown`]
    /// waits for it.
    ///
    /// In the [scope](crate::Deferred::scope) of a transaction, all parts are collected instead, and `None` is returned.
    ///
    /// # Errors
    /// The first failure.
    pub async fn run(self) -> Result<Option<u64>, Error> {
        match Collected::current() {
            Some(collected) => {
                collected.add(self.parts);
                Ok(None)
            }
            None => run(self.cache.engine.shared.tasks.clone(), self.parts).await,
        }
    }

    /// Carries out all parts in the background, and logs a failure. Outside of a runtime, only stores in this process
    /// are reached. In the [scope](crate::Deferred::scope) of a transaction, all parts are collected instead.
    pub fn run_in_background(self) {
        match Collected::current() {
            Some(collected) => collected.add(self.parts),
            None => run_in_background(&self.cache.engine.shared.tasks, self.parts),
        }
    }
}

/// Returns the span of a set of invalidations.
fn span(parts: &[Part], whom: RunsFor) -> Span {
    match parts {
        [first, ..] => invalidation(first.cache.engine.shared.events.cache(), whom),
        [] => Span::none(),
    }
}

/// Carries out `parts`, also if the caller leaves.
pub(super) async fn run(tasks: Tasks, parts: Vec<Part>) -> Result<Option<u64>, Error> {
    let span = span(&parts, RunsFor::Caller);
    let mut work = Box::pin(carry_out(parts));
    // A store in this process completes at once.
    if let Some(result) = span.in_scope(|| (&mut work).now_or_never()) {
        return result;
    }
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            let (work, _awaited) = task::awaited(span, work);
            tasks.spawn_on(work, &runtime).await.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Other,
                    "the runtime ended during the invalidation",
                ))
            })
        }
        Err(_) => work.await,
    }
}

/// Carries out `parts` in the background.
pub(super) fn run_in_background(tasks: &Tasks, parts: Vec<Part>) {
    let span = span(&parts, RunsFor::Nobody);
    let mut work = Box::pin(carry_out_logged(Rest(parts.into_iter())));
    if span.in_scope(|| (&mut work).now_or_never()).is_some() {
        return;
    }
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(tasks.spawn_on(task::background(span, work), &runtime)),
        Err(_) => log_error("an invalidation is pending: there is no runtime to carry it out", None),
    }
}

/// Carries out `parts` in the background, after `pause` or when a shutdown begins. Outside of a runtime, does nothing.
pub(super) fn run_later(tasks: &Tasks, parts: Vec<Part>, pause: Duration) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    // If the runtime ends first, they are pending.
    let rest = Rest(parts.into_iter());
    let closed = tasks.clone();
    let work = async move {
        tokio::select! {
            () = sleep(pause) => {}
            () = closed.closed() => {}
        }
        carry_out_logged(rest).await;
    };
    tasks.spawn_on(work, &runtime);
}

async fn carry_out_logged(rest: Rest) {
    if let Err(error) = carry_out_rest(rest).await {
        log_error("an invalidation failed: outdated values may be found", Some(&error));
    }
}

async fn carry_out(parts: Vec<Part>) -> Result<Option<u64>, Error> {
    carry_out_rest(Rest(parts.into_iter())).await
}

async fn carry_out_rest(mut rest: Rest) -> Result<Option<u64>, Error> {
    let mut removed = None;
    let mut result = Ok(());
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
            Target::Key(key) if soft => cache.soften_key(&key).await.map(|()| None),
            Target::Key(key) => cache.delete_key(&key).await.map(|existed| Some(existed.into())),
            Target::Tags(tags) => cache.end_tags(&tags, soft).await.map(|()| None),
            Target::Namespace(name) => cache.clear_now(Some(&name), soft).await,
            Target::Everything => cache.clear_now(None, soft).await,
        }
    }
}
