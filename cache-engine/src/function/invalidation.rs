//! What a write invalidates.

use cache_core::{Error, Key};

use super::completion::{Completion, Fallible, report};
use super::entry::CachedEntry;
use super::key_name::{CallName, key_in};
use crate::cache::handle::Cache;
use crate::cache::invalidation_set::Invalidation;

/// What a write invalidates.
///
/// If it is dropped before it is [completed](Self::complete), because the write panicked or its caller was cancelled,
/// it is carried out in the background: the write may have taken place, and an unneeded invalidation does no harm.
/// The same holds for a write that returned an error, unless that [rules it out](Self::unless_err).
#[derive(Debug)]
#[must_use]
pub struct Invalidations {
    set: Option<Invalidation>,
    /// Why a key could not be added to the set.
    error: Option<Error>,
    soft: bool,
    armed: bool,
    /// Whether an error of the write means that nothing was written.
    unless_err: bool,
}

impl Invalidations {
    pub fn new(soft: bool) -> Self {
        Self {
            set: None,
            error: None,
            soft,
            armed: false,
            unless_err: false,
        }
    }

    fn with<C>(mut self, cache: &Cache<C>, add: impl FnOnce(Invalidation) -> Invalidation) -> Self {
        let added = add(if self.soft {
            cache.soft().invalidation()
        } else {
            cache.invalidation()
        });
        self.set = Some(match self.set.take() {
            Some(set) => set.and(added),
            None => added,
        });
        self
    }

    fn with_key<C>(mut self, cache: &Cache<C>, key: Result<Key, Error>) -> Self {
        match key {
            Ok(key) => self.with(cache, |set| set.add_key(key)),
            Err(error) => {
                self.error.get_or_insert(error);
                self
            }
        }
    }

    pub fn entry<F>(self, entry: CachedEntry<F>) -> Self {
        self.with_key(&entry.cache, entry.key)
    }

    pub fn key<C, N: Into<CallName>>(self, cache: &Cache<C>, namespace: Option<&str>, name: Result<N, Error>) -> Self {
        self.with_key(cache, key_in(cache, namespace, name))
    }

    pub fn namespace<C>(self, cache: &Cache<C>, name: &str) -> Self {
        self.with(cache, |set| set.add_namespace(name))
    }

    pub fn tags<C>(self, cache: &Cache<C>, tags: impl IntoIterator<Item = String>) -> Self {
        self.with(cache, |set| tags.into_iter().fold(set, Invalidation::add_tag))
    }

    /// Arms the invalidation: from now on, dropping it carries it out.
    pub fn armed(mut self) -> Self {
        self.armed = true;
        self
    }

    /// Specifies that an error of the write means that nothing was written, so that nothing is invalidated after one.
    pub fn unless_err<C: Fallible>(mut self, _: &C) -> Self {
        self.unless_err = true;
        self
    }

    /// Carries out the invalidation, also if the write failed: an error does not rule out that the write took place.
    ///
    /// If the invalidation fails after a successful write, that becomes the function's error if its type permits it,
    /// and is logged otherwise. After a failed write, it is logged, and the write's own error is returned.
    pub async fn complete<C: Completion>(mut self, _: C, output: C::Output) -> C::Output {
        self.armed = false;
        let failed = C::failed(&output);
        if failed && self.unless_err {
            return output;
        }
        let result = match self.set.take() {
            // It continues if the caller is cancelled.
            Some(set) => set.run().await.map(drop),
            None => Ok(()),
        };
        match self.error.take().map_or(result, Err) {
            Ok(()) => output,
            Err(error) if failed => {
                report(&error);
                output
            }
            Err(error) => C::fail(output, error),
        }
    }
}

impl Drop for Invalidations {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if let Some(set) = self.set.take() {
            set.run_in_background();
        }
        if let Some(error) = &self.error {
            report(error);
        }
    }
}
