//! A write, and what is invalidated by it.

use std::sync::Arc;

use cache_core::{Error, Key, KeyName};
use futures_util::FutureExt;

use super::entry::CachedEntry;
use super::key::key_in;
use super::probe::{Returns, markers};
use crate::cache::handle::Cache;

/// What a write invalidates.
///
/// Dropped before it was [completed](Self::complete), because the write panicked or its caller went away, it is carried
/// out in the background: nobody knows whether the write took place, and an invalidation too many does no harm.
#[derive(Debug, Default)]
#[must_use]
pub struct Invalidations {
    targets: Arc<Vec<Target>>,
    soft: bool,
    armed: bool,
}

#[derive(Debug)]
enum Target {
    Entry(Cache<()>, Result<Key, Error>),
    Tags(Cache<()>, Vec<String>),
    Namespace(Cache<()>, Box<str>),
}

impl Target {
    fn cache(&self) -> &Cache<()> {
        match self {
            Self::Entry(cache, _) | Self::Tags(cache, _) | Self::Namespace(cache, _) => cache,
        }
    }

    async fn invalidate(&self, soft: bool) -> Result<(), Error> {
        match self {
            Self::Entry(cache, Ok(key)) if soft => cache.invalidate_soft(key).await,
            Self::Entry(cache, Ok(key)) => cache.invalidate(key).await,
            Self::Entry(_, Err(error)) => Err(error.clone()),
            Self::Tags(cache, tags) if soft => cache.invalidate_tags_soft(tags).await,
            Self::Tags(cache, tags) => cache.invalidate_tags(tags).await,
            Self::Namespace(cache, name) if soft => cache.clear_soft(name).await,
            Self::Namespace(cache, name) => cache.clear(name).await.map(drop),
        }
    }
}

impl Invalidations {
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, target: Target) -> Self {
        if let Some(targets) = Arc::get_mut(&mut self.targets) {
            targets.push(target);
        }
        self
    }

    pub fn entry(self, entry: CachedEntry) -> Self {
        self.with(Target::Entry(entry.cache, entry.key))
    }

    pub fn key<C>(self, cache: &Cache<C>, namespace: Option<&str>, name: Result<KeyName, Error>) -> Self {
        let key = key_in(cache, namespace, name);
        self.entry(CachedEntry::new(cache, key))
    }

    pub fn namespace<C>(self, cache: &Cache<C>, name: &str) -> Self {
        self.with(Target::Namespace(cache.with_coder(()), name.into()))
    }

    pub fn tags<C>(self, cache: &Cache<C>, tags: impl IntoIterator<Item = String>) -> Self {
        self.with(Target::Tags(cache.with_coder(()), tags.into_iter().collect()))
    }

    /// Softly, all of it.
    pub fn soft(mut self) -> Self {
        self.soft = true;
        self
    }

    /// To be carried out from now on, if it is dropped.
    pub fn armed(mut self) -> Self {
        self.armed = true;
        self
    }

    /// Carries it out if the write succeeded. What could not be carried out is the result where it can be, and a
    /// message to the log otherwise.
    pub async fn complete<C: Completion>(mut self, _: C, output: C::Output) -> C::Output {
        if !C::succeeded(&output) {
            self.armed = false;
            return output;
        }
        let result = carry_out(&self.targets, self.soft).await;
        self.armed = false;
        match result {
            Ok(()) => output,
            Err(error) => C::fail(output, error),
        }
    }
}

impl Drop for Invalidations {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let Some(tasks) = self
            .targets
            .first()
            .map(|target| target.cache().engine.shared.tasks.clone())
        else {
            return;
        };
        let (targets, soft) = (Arc::clone(&self.targets), self.soft);
        let task = async move {
            if let Err(error) = carry_out(&targets, soft).await {
                report(&error);
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(tasks.spawn_on(task, &runtime)),
            // There is nowhere left to wait. A store in this process is done at once.
            Err(_) => {
                if task.now_or_never().is_none() {
                    tracing::error!(target: "cache", "an invalidation could not be carried out: there is no runtime");
                }
            }
        }
    }
}

/// Each is tried, whatever becomes of the others; the first failure is reported.
async fn carry_out(targets: &[Target], soft: bool) -> Result<(), Error> {
    let mut result = Ok(());
    for target in targets {
        result = result.and(target.invalidate(soft).await);
    }
    result
}

fn report(error: &Error) {
    tracing::error!(target: "cache", %error, "an invalidation could not be carried out: outdated values may be found");
}

/// How the result of a write tells whether it succeeded, and takes up that its invalidation did not.
pub trait Completion: Copy {
    type Output;

    fn succeeded(output: &Self::Output) -> bool;

    fn fail(output: Self::Output, error: Error) -> Self::Output;
}

markers! {
    /// An error can be made of an [`Error`].
    OfFitting<R>;
    /// An error cannot.
    OfUnfitting<R>;
    /// There is no error.
    OfInfallible<R>;
}

impl<T, E: From<Error>> Completion for OfFitting<Result<T, E>> {
    type Output = Result<T, E>;

    fn succeeded(output: &Result<T, E>) -> bool {
        output.is_ok()
    }

    fn fail(_: Result<T, E>, error: Error) -> Result<T, E> {
        Err(E::from(error))
    }
}

impl<T, E> Completion for OfUnfitting<Result<T, E>> {
    type Output = Result<T, E>;

    fn succeeded(output: &Result<T, E>) -> bool {
        output.is_ok()
    }

    fn fail(output: Result<T, E>, error: Error) -> Result<T, E> {
        report(&error);
        output
    }
}

impl<R> Completion for OfInfallible<R> {
    type Output = R;

    fn succeeded(_: &R) -> bool {
        true
    }

    fn fail(output: R, error: Error) -> R {
        report(&error);
        output
    }
}

pub trait CompletionOfFitting {
    type Completion;

    fn completion(&self) -> Self::Completion;
}

impl<T, E: From<Error>> CompletionOfFitting for &&Returns<Result<T, E>> {
    type Completion = OfFitting<Result<T, E>>;

    fn completion(&self) -> Self::Completion {
        OfFitting::new()
    }
}

pub trait CompletionOfUnfitting {
    type Completion;

    fn completion(&self) -> Self::Completion;
}

impl<T, E> CompletionOfUnfitting for &Returns<Result<T, E>> {
    type Completion = OfUnfitting<Result<T, E>>;

    fn completion(&self) -> Self::Completion {
        OfUnfitting::new()
    }
}

pub trait CompletionOfOthers {
    type Completion;

    fn completion(&self) -> Self::Completion;
}

impl<R> CompletionOfOthers for Returns<R> {
    type Completion = OfInfallible<R>;

    fn completion(&self) -> Self::Completion {
        OfInfallible::new()
    }
}
