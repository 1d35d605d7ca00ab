//! Invalidations that are tied to a database transaction.

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::Error;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::cache::collecting::Collected;
use crate::cache::handle::Cache;
use crate::cache::invalidate::Soft;
use crate::cache::invalidation_part::{Part, Target};
use crate::cache::invalidation_set::{Invalidation, run, run_in_background, run_later};
use crate::cache::key::IntoKey;
use crate::load::bypass::bypass;
use crate::log::log_error;
use crate::trace::{load, task};

/// How long a commit may take before its outcome counts as unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest time that can be set for that.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);

/// Invalidations that are tied to a database transaction: collected while it runs, and carried out after its commit.
///
/// An invalidation before the commit comes too early, since a load can still read and store the old row after it. An
/// invalidation only after a commit that returned `Ok` is lost if the answer to the commit is. So the invalidations that
/// are collected here are
///
/// - carried out after the commit, before [`commit`](Self::commit) returns;
/// - also carried out if the outcome is unknown: the commit returns an error, does not answer in time or panics, its
///   caller leaves, or this value is dropped;
/// - discarded only by [`rolled_back`](Self::rolled_back).
///
/// An invalidation that was not needed costs one load. A load that began before the commit does not store what it has
/// read, since the invalidation breaks its [fence](crate#what-is-guaranteed).
///
/// It works with any database library. With sqlx:
///
/// ```
/// # mod sqlx { #[derive(Debug)] pub struct Error; impl std::fmt::Display for Error { fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } } impl std::error::Error for Error {} }
/// # struct Pool; struct Transaction;
/// # impl Pool { async fn begin(&self) -> Result<Transaction, sqlx::Error> { Ok(Transaction) } }
/// # impl Transaction { async fn commit(self) -> Result<(), sqlx::Error> { Ok(()) } }
/// # async fn insert_order(_: &mut Transaction, user: u64) -> Result<u64, sqlx::Error> { Ok(user) }
/// use cache_engine::{Cache, CommitError};
///
/// async fn order(pool: &Pool, cache: &Cache, user: u64) -> Result<u64, CommitError<sqlx::Error>> {
///     let deferred = cache.deferred();
///     let mut transaction = pool.begin().await?;
///     let order = insert_order(&mut transaction, user).await?;
///     deferred.add_tag(format!("orders:{user}")).add_key(cache.key("newest"));
///     deferred.commit(async move { transaction.commit().await }).await?;
///     Ok(order)
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # order(&Pool, &Cache::builder(cache_memory::MemoryBackend::default()).build(), 7).await.unwrap();
/// # }
/// ```
///
/// Where the function returns early, by `?` or because its caller leaves, both values are dropped: the transaction is
/// rolled back by its library, and the invalidations are carried out in the background, without harm.
///
/// # After an unknown outcome
///
/// A database whose connection broke during a commit may carry the commit out a little later, after the invalidation. So
/// what was collected is invalidated at once, and once more after the [commit timeout](Self::with_commit_timeout), in the
/// background. [`Cache::shutdown`] does not wait for that time: it carries out the second invalidation at once.
///
/// # What is not covered
///
/// If the process is killed between the commit and the invalidation, the invalidation is lost. Where that matters,
/// [let the database report its changes](Cache::follow) as well.
#[must_use = "if it is dropped, its invalidations are carried out, whether there was a commit or not"]
pub struct Deferred {
    /// The handle of what is added, and whether it is invalidated softly.
    cache: Cache<()>,
    soft: bool,
    collected: Arc<Collected>,
    /// That of the transaction in whose scope this one was begun.
    outer: Option<Arc<Collected>>,
    commit_timeout: Duration,
}

impl<C> Cache<C> {
    /// Begins to collect invalidations for a database transaction; see [`Deferred`].
    pub fn deferred(&self) -> Deferred {
        Deferred::new(self, false)
    }
}

impl<C> Soft<'_, C> {
    /// Begins to collect soft invalidations for a database transaction; see [`Deferred`].
    pub fn deferred(self) -> Deferred {
        Deferred::new(self.cache(), true)
    }
}

impl Deferred {
    fn new<C>(cache: &Cache<C>, soft: bool) -> Self {
        Self {
            cache: cache.with_coder(()),
            soft,
            collected: Arc::default(),
            outer: Collected::current(),
            commit_timeout: COMMIT_TIMEOUT,
        }
    }

    /// Sets how long a commit may take before its outcome counts as unknown. Also sets after which time a commit whose
    /// answer was lost is certain to have taken place, if at all. Default: 5 s; at least 10 ms.
    ///
    /// A commit that takes longer is not given up: what was collected is invalidated at that time, again after pauses that
    /// double, and when the commit ends.
    pub fn with_commit_timeout(mut self, timeout: Duration) -> Self {
        self.commit_timeout = timeout.max(SHORTEST_TIMEOUT);
        self
    }

    /// Adds a key.
    pub fn add_key(&self, key: impl IntoKey) -> &Self {
        let key = key.into_key(self.cache.namespace()).borrow().clone();
        self.push(Target::Key(key))
    }

    /// Adds a tag.
    pub fn add_tag(&self, tag: impl Into<String>) -> &Self {
        self.push(Target::Tags(vec![tag.into()]))
    }

    /// Adds a namespace, by its name.
    pub fn add_namespace(&self, name: impl Into<String>) -> &Self {
        self.push(Target::Namespace(name.into()))
    }

    /// Adds everything below the cache's prefix.
    pub fn add_everything(&self) -> &Self {
        self.push(Target::Everything)
    }

    /// Adds a set of invalidations, which may be of another cache, and soft or hard.
    pub fn add(&self, set: Invalidation) -> &Self {
        self.collected.add(set.into_parts());
        self
    }

    fn push(&self, target: Target) -> &Self {
        self.collected.add([Part::new(&self.cache, self.soft, target)]);
        self
    }

    /// Runs `future`, a part of the transaction, and collects what it invalidates: by functions with `#[invalidates]`,
    /// by [`Invalidation::run`], and by [`Cache::invalidate`] and the other methods that invalidate or clear. So the
    /// functions that write need not know that they are parts of a transaction.
    ///
    /// Within it, caches are [bypassed](crate::bypass): what a transaction reads may be rolled back, so it is not stored,
    /// and what is stored is older than what the transaction has written. Do not [`set`](Cache::set) values in it.
    ///
    /// ```
    /// # struct Transaction;
    /// # impl Transaction { async fn commit(self) -> Result<(), std::io::Error> { Ok(()) } }
    /// use cache_engine::{Cache, invalidates};
    ///
    /// #[invalidates(cache = cache, tags = ["user:{id}"])]
    /// async fn rename(cache: &Cache, transaction: &mut Transaction, id: u64, name: &str) -> Result<(), std::io::Error> {
    ///     // UPDATE …
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder(cache_memory::MemoryBackend::default()).build();
    /// # let mut transaction = Transaction;
    /// let deferred = cache.deferred();
    /// deferred.scope(rename(&cache, &mut transaction, 7, "Ada")).await?;
    /// deferred.scope(rename(&cache, &mut transaction, 8, "Grace")).await?;
    /// deferred.commit(async move { transaction.commit().await }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Tasks that the future spawns are not part of it.
    pub async fn scope<F: Future>(&self, future: F) -> F::Output {
        Arc::clone(&self.collected).scope(bypass(future)).await
    }

    /// Runs `commit`, and carries out what was collected, whatever the outcome. `commit` may also be the whole
    /// transaction, for libraries that take it as a closure: it runs in the [scope](Self::scope).
    ///
    /// The commit runs in a task of its own, so it is not interrupted if the caller leaves, and the invalidations follow
    /// it. [`Cache::shutdown`] waits for both. A panic is passed on to the caller.
    ///
    /// # Errors
    /// - [`CommitError::Commit`]: the commit failed, and its outcome is unknown. What was collected is invalidated
    ///   all the same.
    /// - [`CommitError::Invalidation`]: the transaction is committed, but the store did not answer. The invalidations are
    ///   [pending](Cache::pending_invalidations).
    pub async fn commit<T, E, F>(self, commit: F) -> Result<T, CommitError<E>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let tasks = self.cache.engine.shared.tasks.clone();
        let span = load::commit(self.cache.engine.shared.events.cache());
        let (work, _awaited) = task::awaited(span, self.commit_borrowing(commit));
        let Ok(runtime) = Handle::try_current() else {
            return work.await;
        };
        match tasks.spawn_on(work, &runtime).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(CommitError::RuntimeEnded),
            },
        }
    }

    /// Like [`commit`](Self::commit), for a commit that borrows. It runs in the caller's task, so if the caller leaves,
    /// the commit may be interrupted. Its outcome is then unknown, and the invalidations are carried out in the
    /// background.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn commit_borrowing<T, E>(self, commit: impl Future<Output = Result<T, E>>) -> Result<T, CommitError<E>> {
        let result = {
            let mut commit = pin!(self.scope(commit));
            let mut patience = self.commit_timeout;
            loop {
                // Without a runtime there is no timer.
                let answer = match Handle::try_current() {
                    Ok(_) => timeout(patience, commit.as_mut()).await.ok(),
                    Err(_) => Some(commit.as_mut().await),
                };
                if let Some(result) = answer {
                    break result;
                }
                // It may have taken place, or take place later, and may never answer.
                run_in_background(&self.cache.engine.shared.tasks, self.parts());
                patience = patience.saturating_mul(2);
            }
        };
        let tasks = self.cache.engine.shared.tasks.clone();
        match result {
            Ok(value) => {
                let parts = self.parts();
                self.collected.take();
                run(tasks, parts).await.map_err(CommitError::Invalidation)?;
                Ok(value)
            }
            Err(error) => {
                let parts = self.parts();
                self.collected.take();
                run_later(&tasks, parts.clone(), self.commit_timeout);
                if let Err(error) = run(tasks, parts).await {
                    log_error("an invalidation failed: outdated values may be found", Some(&error));
                }
                Err(CommitError::Commit(error))
            }
        }
    }

    /// Discards what was collected. Call this after the transaction was rolled back, to save the loads that unneeded
    /// invalidations cost.
    pub fn rolled_back(self) {
        self.collected.take();
    }

    /// Returns what is to be carried out now. A transaction within the scope of another one may be a part of it, so
    /// that one carries it out too.
    fn parts(&self) -> Vec<Part> {
        let parts = self.collected.parts();
        if let Some(outer) = &self.outer {
            outer.add(parts.iter().cloned());
        }
        parts
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        let parts = self.parts();
        if parts.is_empty() {
            return;
        }
        let tasks = &self.cache.engine.shared.tasks;
        run_later(tasks, parts.clone(), self.commit_timeout);
        run_in_background(tasks, parts);
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("collected", &self.collected.parts().len())
            .field("commit_timeout", &self.commit_timeout)
            .finish_non_exhaustive()
    }
}

/// Why [`Deferred::commit`] failed.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum CommitError<E> {
    /// The database reported an error. If it came from the commit, the transaction may or may not have taken place.
    Commit(E),
    /// The transaction is committed, but the store did not answer, so outdated values may be found. The invalidations
    /// are [pending](Cache::pending_invalidations).
    Invalidation(Error),
    /// The runtime ended during the commit, so its outcome is unknown.
    RuntimeEnded,
}

impl<E> CommitError<E> {
    /// Returns whether the transaction is known to be committed.
    pub fn is_committed(&self) -> bool {
        matches!(self, Self::Invalidation(_))
    }
}

/// For `?` on the statements before the commit.
impl<E> From<E> for CommitError<E> {
    fn from(error: E) -> Self {
        Self::Commit(error)
    }
}

impl<E: fmt::Display> fmt::Display for CommitError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(error) => error.fmt(f),
            Self::Invalidation(error) => write!(
                f,
                "the transaction is committed, but the cache was not invalidated: {error}"
            ),
            Self::RuntimeEnded => f.write_str("the runtime ended during the commit"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CommitError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its message is the one of the error, so its source is that of the error too.
            Self::Commit(error) => error.source(),
            Self::Invalidation(error) => Some(error),
            Self::RuntimeEnded => None,
        }
    }
}
