//! What a write invalidates.

use std::sync::Arc;

use cache_core::{Error, Key};
use futures_util::FutureExt;

use super::completion::{Completion, report};
use super::entry::CachedEntry;
use super::key_name::{CallName, key_in};
use crate::cache::handle::Cache;

/// What a write invalidates.
///
/// If it is dropped before it is [completed](Self::complete), because the write panicked or its caller went away, it is
/// carried out in the background: the write may have taken place, and an unneeded invalidation does no harm.
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
            Self::Entry(cache, Ok(key)) if soft => cache.soft().invalidate(key).await,
            Self::Entry(cache, Ok(key)) => cache.invalidate(key).await,
            Self::Entry(_, Err(error)) => Err(error.clone()),
            Self::Tags(cache, tags) if soft => cache.soft().invalidate_tags(tags).await,
            Self::Tags(cache, tags) => cache.invalidate_tags(tags).await,
            Self::Namespace(cache, name) if soft => cache.soft().clear(name).await,
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

    pub fn key<C, N: Into<CallName>>(self, cache: &Cache<C>, namespace: Option<&str>, name: Result<N, Error>) -> Self {
        let key = key_in(cache, namespace, name);
        self.entry(CachedEntry::new(cache, key))
    }

    pub fn namespace<C>(self, cache: &Cache<C>, name: &str) -> Self {
        self.with(Target::Namespace(cache.with_coder(()), name.into()))
    }

    pub fn tags<C>(self, cache: &Cache<C>, tags: impl IntoIterator<Item = String>) -> Self {
        self.with(Target::Tags(cache.with_coder(()), tags.into_iter().collect()))
    }

    /// Invalidates softly.
    pub fn soft(mut self) -> Self {
        self.soft = true;
        self
    }

    /// Carries it out when it is dropped, from now on.
    pub fn armed(mut self) -> Self {
        self.armed = true;
        self
    }

    /// Carries it out if the write succeeded. A failure becomes the function's error if its type allows it, and is
    /// logged otherwise.
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
            // Without a runtime there is nothing to wait on. A store in this process is ready at once.
            Err(_) => {
                if task.now_or_never().is_none() {
                    tracing::error!(target: "cache", "an invalidation could not be carried out: there is no runtime");
                }
            }
        }
    }
}

/// Tries each of them, and returns the first failure.
async fn carry_out(targets: &[Target], soft: bool) -> Result<(), Error> {
    let mut result = Ok(());
    for target in targets {
        result = result.and(target.invalidate(soft).await);
    }
    result
}
