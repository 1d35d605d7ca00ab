//! Runs a load, and stores its result.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, FreshnessWindows};
use futures_util::FutureExt;

use crate::event::LoadFailure;
use crate::load::context::{Load, Loaded};
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::{Fill, Outcome};
use crate::load::policy::Policy;
use crate::load::stack::LoadStack;
use crate::panics::panic_message;
use crate::stats::snapshot::CacheTier;
use crate::store::record::Found;

/// What a loader returned, or why it did not return.
pub(crate) enum Returned<T, E> {
    Loaded(Loaded<T>),
    Failed(E),
    TimedOut(Duration),
    Panicked(Box<dyn Any + Send>),
}

/// How a load ended for the caller that led it.
pub(crate) enum Ended<T, E> {
    Outcome(Outcome<T, E>),
    Panicked(Arc<str>, Box<dyn Any + Send>),
}

impl<T, E> Ended<T, E> {
    pub(crate) fn into_outcome(self) -> Outcome<T, E> {
        match self {
            Self::Outcome(outcome) => outcome,
            Self::Panicked(message, _) => Err(LoadError::Panicked(message)),
        }
    }
}

impl<C: Send + Sync + 'static> Engine<C> {
    /// Loads, and lands the flight.
    pub(crate) async fn run<T, E, F, Fut>(
        &self,
        mut fill: Fill<T, E>,
        outer: Option<Arc<LoadStack>>,
        load: F,
    ) -> Ended<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut,
        Fut: Future<Output = Result<Loaded<T>, E>>,
    {
        let stack = self.begin(&mut fill, outer);
        let stale = fill.stale().map(|stale| Arc::clone(&stale.value));
        let tagger = fill.tagger().clone();
        let context = Load::new(fill.key().clone(), stale, tagger.clone());
        // Unwind safe, because a loader that panics is not used again, so no broken state is observed. It is called
        // within the future, so that a panic of the call itself is caught too. Boxed, because loads are nested in
        // loads, and each level would contain its load several times.
        let load = stack.scope(tagger.scope(async move { load(context).await }));
        let load = AssertUnwindSafe(Box::pin(load)).catch_unwind();
        let returned = match self.limited(fill.renewing(load)).await {
            Ok(Ok(Ok(loaded))) => Returned::Loaded(loaded),
            Ok(Ok(Err(error))) => Returned::Failed(error),
            Ok(Err(panic)) => Returned::Panicked(panic),
            Err(limit) => Returned::TimedOut(limit),
        };
        self.end(fill, returned).await
    }

    /// Begins a load, and returns the stack that it runs in.
    pub(crate) fn begin<T, E>(&self, fill: &mut Fill<T, E>, outer: Option<Arc<LoadStack>>) -> Arc<LoadStack>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        fill.begin();
        let backend = self.shared.tier.store.backend();
        LoadStack::within(outer, backend, [fill.key().clone()], fill.flight().as_slice())
    }

    /// Ends a load: stores what its loader returned, and lands its flight.
    pub(crate) async fn end<T, E>(&self, mut fill: Fill<T, E>, returned: Returned<T, E>) -> Ended<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let (error, panic) = match returned {
            Returned::Loaded(loaded) => {
                fill.note_loaded();
                return Ended::Outcome(Ok(self.keep(fill, loaded).await));
            }
            Returned::Failed(error) => {
                fill.note_failed(LoadFailure::Error);
                (LoadError::Failed(Arc::new(error)), None)
            }
            Returned::TimedOut(limit) => {
                fill.note_failed(LoadFailure::Timeout);
                (LoadError::TimedOut(limit), None)
            }
            Returned::Panicked(panic) => {
                fill.note_failed(LoadFailure::Panic);
                let message = panic_message(&*panic);
                (LoadError::Panicked(Arc::clone(&message)), Some((message, panic)))
            }
        };
        // Boxed, to keep the future of a load that succeeds small.
        let outcome = Box::pin(self.fail(fill, error)).await;
        match (outcome, panic) {
            (Err(_), Some((message, panic))) => Ended::Panicked(message, panic),
            (outcome, _) => Ended::Outcome(outcome),
        }
    }

    /// Runs `load` for at most the policy's load timeout, which is the error.
    pub(crate) async fn limited<F: Future>(&self, load: F) -> Result<F::Output, Duration> {
        match self.policy.load_timeout {
            Some(limit) => tokio::time::timeout(limit, load).await.map_err(|_| limit),
            None => Ok(load.await),
        }
    }

    pub(crate) async fn keep<T, E>(&self, mut fill: Fill<T, E>, loaded: Loaded<T>) -> Option<Found<T>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let policy = loaded.policy(&self.policy);
        let Some(value) = loaded.value else {
            // Boxed, to keep the future of a load that brings a value small.
            Box::pin(self.keep_absence(fill, &policy, loaded.store)).await;
            return None;
        };
        let mut windows = fill.shortened(policy.windows());
        let is_kept = loaded.store && is_of_use(&windows);
        if !loaded.store {
            windows.fresh = Some(Duration::ZERO);
        }
        if fill.stale().is_some_and(|stale| Arc::ptr_eq(&stale.value, &value)) {
            fill.keep_tags_of_stale();
        }
        self.contribute_load(&fill, windows);
        let found = Found {
            value,
            created: self.shared.tier.now(),
            windows,
            tags: fill.dependencies().unwrap_or_default(),
            version: None,
            tier: CacheTier::Store,
            load_time: fill.load_time(),
            type_version: self.coder.type_version(),
        };
        if is_kept {
            fill.store(Arc::clone(&found.value), &*self.coder, windows).await;
        } else {
            Box::pin(fill.share(Ok(Some(found.clone())))).await;
        }
        Some(found)
    }

    /// Keeps that there is no value.
    async fn keep_absence<T, E>(&self, mut fill: Fill<T, E>, policy: &Policy, is_stored: bool)
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let stored = policy.negative_ttl.filter(|_| is_stored);
        let stored = stored.map(|ttl| fill.shortened(policy.negative_windows(ttl)));
        let windows = stored.unwrap_or_else(|| fill.shortened(FreshnessWindows::new(policy.ttl)));
        self.contribute_load(&fill, windows);
        match stored.filter(is_of_use) {
            Some(windows) => {
                fill.store_absent(windows).await;
            }
            None => {
                fill.state.windows_without_value = windows;
                fill.share_absence().await;
            }
        }
    }

    pub(crate) async fn fail<T, E>(&self, fill: Fill<T, E>, error: LoadError<E>) -> Outcome<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        if let Some(stale) = fill.stale_if_error().await {
            self.contribute(&stale);
            fill.share_stale(stale.clone()).await;
            return Ok(Some(stale));
        }
        // A failure must not replace a value, however old, because the next load may need the value.
        let remembered = fill.stale().is_none() && !error.is_unshared();
        let stored = self.policy.error_ttl.filter(|_| remembered);
        let stored = stored.map(|ttl| fill.shortened(self.policy.negative_windows(ttl)));
        self.contribute_load(&fill, stored.unwrap_or_else(Policy::not_remembered));
        match stored.filter(is_of_use) {
            Some(windows) => {
                fill.store_failure(error.clone(), windows).await;
            }
            None if error.is_retried() => fill.hand_over().await,
            None => fill.share(Err(error.clone())).await,
        }
        Err(error)
    }
}

/// Returns whether a copy may be used at any time.
fn is_of_use(windows: &FreshnessWindows) -> bool {
    let FreshnessWindows {
        fresh,
        stale_while_revalidate,
        stale_if_error,
        ..
    } = windows;
    fresh.is_none_or(|fresh| !fresh.is_zero()) || !stale_while_revalidate.is_zero() || !stale_if_error.is_zero()
}
